"""What an app process frees, it uses again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from peer.base.freed_memory import keep_freed_memory

MANY = 60
SIZE = 100_000
"""Bytes. So many blocks are a model of 1 MB a few times over, in 4 KiB pages 1,465 of them."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other rules")
def test_memory_that_was_freed_is_no_new_page_the_next_time() -> None:
    code = f"""
import resource
from {keep_freed_memory.__module__} import keep_freed_memory

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [bytes({SIZE}) for _ in range({MANY})]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
first, *_, last = [new_pages() for _ in range(5)]
print(first, last)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    first, last = map(int, run.stdout.split())
    assert last < first / 10
