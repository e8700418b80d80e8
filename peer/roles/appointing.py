"""Prepares an admin's word that another server is to lead a run, and tells what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from crypto.keys import SigningKey
from peer.base.errors import ExitCode, PeerError
from peer.membership.changes import find_member
from peer.run.peer import Prepared
from peer.run.runner import Ending
from peer.run.session import Session
from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Role
from protocol.roles.appointing.appointment import Appointment
from protocol.run_names import SHOWN
from protocol.wire.announcements import topic_all, topic_leader


@dataclass(frozen=True, slots=True)
class Appointed:
    """The server that leads a run now, as it says itself."""

    name: str
    term: int


@dataclass(frozen=True, slots=True)
class Appointing:
    """An appointment, ready to run."""

    prepared: Prepared
    appointment: Appointment
    run: CID

    def appointed(self, ending: Ending) -> Appointed:
        """Who leads now. Call it after it was run.

        Raises:
            PeerError: if nobody was elected.
        """
        if self.appointment.leads_in is None:
            raise PeerError(
                f"nobody else leads the run {str(self.run)[:SHOWN]}: {ending.why or 'it was stopped'}",
                fix="see that the server stands by (peer start --role server --standby), and that more than half of "
                "the voters are here; then ask again",
                code=ExitCode.UNFINISHED,
            )
        return Appointed(self.appointment.to, self.appointment.leads_in)


def appointing(session: Session, run: CID, to: str) -> Appointing:
    """Have the server ``to`` lead a run, or one that is here and could, if that is empty.

    Raises:
        PeerError: if this home's member is no admin, or there is no such server.
    """
    stored, identity = session.stored(), session.identity
    member = stored.manifest.members.get(identity.id)
    role = member.roles[0] if member is not None and member.roles else Role.AUDITOR
    trusted = session.trusted(role)
    admin = _admin_key(trusted.manifest, identity.signing_keys, run)
    server = find_member(trusted.manifest, to) if to else None
    if server is not None and Role.SERVER not in server.roles:
        name = trusted.manifest.name_of(server.id)
        raise PeerError(f"{name} is no server of the federation", fix="peer federation show lists them")
    appointment = Appointment(session.author(), trusted, run, b"" if server is None else server.id, role, admin)
    topics = [topic_all(session.federation), topic_leader(session.federation)]
    return Appointing(Prepared(session, appointment.machine, role, topics, app=None), appointment, run)


def _admin_key(manifest: Manifest, keys: tuple[SigningKey, ...], run: CID) -> SigningKey:
    key = next((key for key in keys if key.verify_key.raw in manifest.admins), None)
    if key is None:
        raise PeerError(
            f"this home does not lead the run {str(run)[:SHOWN]}, and its member is no admin of {manifest.title}",
            fix="have an admin say so, in any home with an admin's key, or whoever leads it, on that machine: "
            "peer lead RUN --to NAME; a run whose leader is silent is taken over by itself",
        )
    return key
