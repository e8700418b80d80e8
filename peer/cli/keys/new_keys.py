"""What ``peer keys rotate`` does and says: new keys in the home first, then in each federation as far as may be."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import typer

from crypto.identity import Identity
from crypto.keys import VerifyKey
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put, say
from peer.cli.federation.proposals import proposal_facts, put_proposal
from peer.cli.output import put_json
from peer.engine.chosen_engine import borrowed
from peer.engine.interface import EngineError
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_of
from peer.membership.changes import may_rotate_in, rotate_in
from peer.membership.proposing import Proposing
from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest
from protocol.federation.proposals import Proposal


@dataclass(frozen=True, slots=True)
class _Left:
    """A federation that has the keys before until somebody sees to it."""

    stored: StoredFederation
    why: PeerError | EngineError | None = None
    """What kept this home from it; None where it is not for this identity to do."""


def rotate_keys(name: str | None, ipfs: str | None, passphrase_file: Path | None, home: Path, json: bool) -> None:
    """Make new keys for an identity, put them into its federations, and say what others have to do."""
    keys = KeyStore(home)
    identity, passphrase = keys.load_with_passphrase(name, Passphrases.of_process(passphrase_file))
    identity = identity.rotated()
    keys.replace(identity, passphrase)  # first: whoever hears of the new keys finds them in this home
    store = FederationStore(Home(home))
    mine = [stored for stored in store.all() if _is_in(stored.manifest, identity)]
    outcomes = [_take_into(Home(home), store, stored, identity, ipfs) for stored in mine]
    if json:
        put_json(_facts(identity, outcomes))
    else:
        _tell(identity, outcomes)
    if any(isinstance(outcome, _Left) and outcome.why for outcome in outcomes):
        raise typer.Exit(ExitCode.UNFINISHED)


def _tell(identity: Identity, outcomes: list[StoredFederation | Proposal | _Left]) -> None:
    put(f"{identity.name} has new keys, and is the same member: {VerifyKey(identity.id).did}")
    for outcome in outcomes:
        if isinstance(outcome, Proposal):
            put(f"{outcome.base.title}: more admins have to sign that")
            put_proposal(outcome, json=False)
            put(f"should another change come before it: {_add(identity, outcome.base.federation)}")
        elif isinstance(outcome, _Left):
            _tell_left(identity, outcome)
        else:
            put(f"{outcome.manifest.title} has them from version {outcome.manifest.version} on")
    if not outcomes:
        put("no federation of this home has it as a member")
    put("backups made before do not hold them: peer keys backup FILE")


def _add(identity: Identity, federation: CID) -> str:
    """What an admin runs who takes the new keys in."""
    return f"peer federation add {identity.public_for(bytes(federation)).key_text()}"


def _tell_left(identity: Identity, left: _Left) -> None:
    title, command = left.stored.manifest.title, _add(identity, left.stored.id)
    if left.why is None:
        put(f"{title} has the keys before until an admin ({_admins(left.stored.manifest)}) runs this:")
        put(command)
        return
    if isinstance(left.why, EngineError):  # what is proposed is kept here: nobody else can have it yet
        command = "peer federation sign CID (peer federation proposals lists it)"
    say(f"error: {title} has the keys before: {left.why}")
    say(f"  fix: {left.why.fix or 'see to the cause'}; then run: {command}")


def _is_in(manifest: Manifest, identity: Identity) -> bool:
    return identity.id in manifest.members or may_rotate_in(manifest, identity)


def _admins(manifest: Manifest) -> str:
    members = ((key, manifest.member_by_key(key)) for key in manifest.admins)
    return " or ".join(manifest.called(member.id) if member else VerifyKey(key).did for key, member in members)


def _take_into(
    home: Home, store: FederationStore, stored: StoredFederation, identity: Identity, ipfs: str | None
) -> StoredFederation | Proposal | _Left:
    """Put the new keys into one federation, as far as this identity may."""

    stored = store.opened(stored, reader_of(identity))
    if not may_rotate_in(stored.manifest, identity):
        return _Left(stored)
    with contextlib.ExitStack() as stack:
        engine = cache(lambda: stack.enter_context(borrowed(home, ipfs, stored)))
        work = Proposing(home, store, stored, identity, engine)
        try:
            return work.change(lambda current: rotate_in(current, identity, time=time.time()))
        except (PeerError, EngineError) as error:
            return _Left(stored, error)


def _facts(identity: Identity, outcomes: list[StoredFederation | Proposal | _Left]) -> dict[str, object]:
    changed = [outcome for outcome in outcomes if isinstance(outcome, StoredFederation)]
    proposed = [outcome for outcome in outcomes if isinstance(outcome, Proposal)]
    left = [outcome for outcome in outcomes if isinstance(outcome, _Left)]
    return {
        "name": identity.name,
        "did": identity.public.signing.did,
        "federations": {str(stored.id): stored.manifest.version for stored in changed},
        "proposals": {str(proposal.base.federation): proposal_facts(proposal) for proposal in proposed},
        "pending": {str(each.stored.id): identity.public_for(bytes(each.stored.id)).key_text() for each in left},
    }
