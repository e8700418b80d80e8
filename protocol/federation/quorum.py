"""The quorum: how many of a federation's admins have to sign a version of its manifest."""

from __future__ import annotations

from collections.abc import Iterable

from protocol.federation.manifest_rules import ManifestError, ManifestRule


def check_quorum(rule: ManifestRule, signers: frozenset[bytes], admins: Iterable[bytes], threshold: int) -> None:
    """Return if ``threshold`` of the ``admins`` are among the ``signers``; both are ids.

    Raises:
        ManifestError: of ``rule``, if fewer are.
    """
    count = len(signers.intersection(admins))
    if count < threshold:
        raise ManifestError(rule, f"{count} of the {threshold} admins that are needed signed")
