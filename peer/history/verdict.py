"""What an audit finds, and what follows from it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from peer.base.errors import ExitCode
from protocol.blocks.cid import CID


class Verdict(StrEnum):
    """The outcome of an audit."""

    VERIFIED = "verified"
    """Every record keeps every rule, and everything that it links is there and whole."""
    FAILED = "failed"
    """Somebody's record is wrong."""
    INCOMPLETE = "incomplete"
    """What is there is right, but not all is there."""
    INCONCLUSIVE = "inconclusive"
    """All is there, and by the rules; but the app, run again here, does something else, and this machine cannot tell
    whose doing that is."""

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of an audit that comes to it."""
        return _EXIT_CODES[self]


_EXIT_CODES: Final = {
    Verdict.VERIFIED: ExitCode.DONE,
    Verdict.FAILED: ExitCode.VERIFICATION_FAILED,
    Verdict.INCOMPLETE: ExitCode.UNFINISHED,
    Verdict.INCONCLUSIVE: ExitCode.UNFINISHED,
}

MISSING_BLOCK: Final = "missing-block"
CUT_SHORT: Final = "car-cut-short"
CAR_SECTION: Final = "car-section"
"""A section of a CAR is damaged, and the run does not need it."""
EQUIVOCATION: Final = "equivocation"
REVOKED_EQUIVOCATION: Final = "equivocation-by-revoked-key"
"""Two records at one place are by a member's key that was revoked since: a thief may have signed."""
FEDERATION_BRANCH: Final = "federation-branch"
"""The run's manifest and the one in this home are on two branches."""
OTHER_FEDERATION: Final = "other-federation"
"""The run is in another federation than the one that the auditor trusts."""
REVOKED: Final = "revoked"
"""A newer manifest than the run's takes a signer's key or role away, and nothing shows that it signed before."""

ANOTHER_HISTORY: Final = "another-history"
"""A member's ack names another record at its height than the chain that is shown."""
REVOKED_HISTORY: Final = "another-history-by-revoked-key"
"""The same, by an ack whose key was revoked since: a thief may have signed it."""

UNHEARD_REPLY: Final = "unheard-reply"
"""The leader says that a member did not answer; the member's ack lists its reply, signed before."""
CONFIRMED_BEYOND: Final = "confirmed-beyond"
"""A member has confirmed more than the chain that is shown."""

OVERTAKEN: Final = "overtaken"
"""A member has confirmed a record of a newer term than the chain that is shown has at that height: another server has
taken the run over, and this chain may be a tail that was lost."""

BROKEN_PROMISE: Final = "broken-promise"
"""A member voted for a newer term, and with the same key signed something of an older one that its vote rules out."""
REVOKED_PROMISE: Final = "broken-promise-by-revoked-key"
"""The same, by a key that was revoked since: a thief may have signed."""

PROMISE_IN_DOUBT: Final = "promise-in-doubt"
"""A member has confirmed a record that its leader had ruled out by a vote, and the record itself is not here."""

UNSETTLED_CLOSE: Final = "unsettled-close"
"""No majority of the voters is known to have confirmed the close of a run that another server could take over."""

CONTRADICTED: Final = "contradicted"
"""A member that replayed the run signs that its app did something else than is recorded."""

UNWITNESSED: Final = "unwitnessed"
"""Clients trained on what fewer other servers recomputed than the run needs, as far as the acks at hand show."""

APP_BUNDLE: Final = "app-bundle"
"""The bundle that the run record links does not hold the app that it names."""
OTHER_APP: Final = "other-app"
"""The app that the run is to be replayed with is not the one that it records."""
REPLAY: Final = "replay"
"""The app, run again on the recorded replies, does not do what is recorded, and no other machine can cause that."""
REPLAY_UNDECIDED: Final = "replay-undecided"
"""The app, run again on the recorded replies, does not do what is recorded, and this machine cannot tell why."""
REPLAY_UNFINISHED: Final = "replay-unfinished"
"""The replay did not end: its app process was lost, or its app raised."""

SHREDDED: Final = "shredded"
"""A replay was asked for, and the keys of the run were destroyed by order of its federation's admins."""

_LACKS: Final = frozenset({MISSING_BLOCK, CUT_SHORT, REPLAY_UNFINISHED, REVOKED, SHREDDED})
"""Findings that need be nobody's fault: something is missing, perhaps only what shows when a record was signed."""

REMARKS: Final = frozenset(
    {
        UNHEARD_REPLY,
        CONFIRMED_BEYOND,
        CONTRADICTED,
        OVERTAKEN,
        PROMISE_IN_DOUBT,
        REVOKED_EQUIVOCATION,
        REVOKED_HISTORY,
        REVOKED_PROMISE,
        UNSETTLED_CLOSE,
        UNWITNESSED,
    }
)
"""Findings that an auditor should know, and that do not change the verdict: they need be nobody's fault, or are one
member's word against another's."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    height: int | None
    """The height of the record concerned; None if it is unknown."""
    cid: CID | None
    """The CID of the block concerned."""
    rule: str
    """The name of the chain rule (`protocol.chain.rules`), or one of the names above."""
    message: str
    count: int = 1
    """How many findings of this kind there are. This is the first."""


def verdict_of(rules: Set[str]) -> Verdict:
    """The verdict on findings with these rules: one that is somebody's fault outweighs any number of missing blocks,
    and a missing block outweighs what this machine cannot tell."""
    if rules - _LACKS - {REPLAY_UNDECIDED}:
        return Verdict.FAILED
    if rules & _LACKS:
        return Verdict.INCOMPLETE
    return Verdict.INCONCLUSIVE if rules else Verdict.VERIFIED
