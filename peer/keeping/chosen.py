"""What the owner of a home has said of what stays, in its journal."""

from __future__ import annotations

from peer.base.errors import PeerError
from peer.home.journal import Journal
from protocol.keeping.home_plan import Keeping, parse_keeping
from protocol.keeping.plan import PlanError


def chosen_keeping(journal: Journal) -> Keeping:
    """What was said.

    Raises:
        PeerError: if this version does not understand it.
    """
    text = journal.keeping()
    if text is None:
        return Keeping()
    try:
        return parse_keeping(text)
    except PlanError as error:
        raise PeerError(f"what this home keeps cannot be read: {error}", fix="say it again: peer keep") from error
