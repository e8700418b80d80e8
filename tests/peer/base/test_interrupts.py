"""`peer.base.interrupts`: a Ctrl-C is taken once, and is known even where the exception that it raised was lost."""

from __future__ import annotations

import contextlib
import signal

import pytest

from peer.base.interrupts import Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_swallowed_is_still_known(number: signal.Signals):
    with Interrupts() as interrupts:
        with contextlib.suppress(KeyboardInterrupt):  # as an import that catches all does
            signal.raise_signal(number)
        assert interrupts.came


def test_nothing_came():
    with Interrupts() as interrupts:
        assert not interrupts.came
