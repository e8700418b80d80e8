"""The chain rules: a numbered table, each with its error class and why it is there (design section 7)."""

from __future__ import annotations

from typing import ClassVar

from protocol.blocks import BlockError


class BrokenRule(BlockError):
    """A record that breaks a chain rule; ``str`` says what is wrong with it."""

    number: ClassVar[int]
    name: ClassVar[str]
    """As audits show it, in kebab-case."""
    why: ClassVar[str]
