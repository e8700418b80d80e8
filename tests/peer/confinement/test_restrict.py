"""`peer.confinement.restrict`: each thing is given up, in an order in which the next one still can be."""

from __future__ import annotations

import resource

import pytest

from peer.confinement import restrict


def test_the_keyring_goes_before_the_calls_and_landlock_comes_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    for step in ("leave_session_keyring", "refuse_calls", "keep_to_itself"):
        monkeypatch.setattr(restrict, step, lambda step=step: done.append(step))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 100))
    monkeypatch.setattr(resource, "setrlimit", lambda *bound: done.append(bound))

    restrict.restrict_this_process("DATA=5,NOFILE=1000")

    assert done == [
        (resource.RLIMIT_DATA, (5, 5)),
        (resource.RLIMIT_NOFILE, (100, 100)),
        "leave_session_keyring",
        "refuse_calls",
        "keep_to_itself",
    ]
