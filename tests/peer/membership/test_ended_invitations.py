"""A removed member does not come back by an invitation that was left behind, whatever its state."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Peer

from crypto.identity import Identity
from peer.base.errors import ExitCode
from peer.engine import open_engine
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.invitations import Invitations
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership.joining import Inviter
from protocol.joining.messages import (
    Answer,
    Join,
    Pending,
    Refused,
    Welcomed,
    WhyRefused,
    open_answer,
    parse_join_envelope,
    seal_join,
)
from protocol.joining.tickets import Invitation, InvitationState, Ticket

Peers = Callable[[str], Peer]


class Killed(BaseException):
    """What ends a process at once."""


class AdminHome:
    """The home of an admin of the federation ``trial``."""

    def __init__(self, peer: Peer, ipfs: str) -> None:
        self.peer, self.ipfs = peer, ipfs

    @property
    def invitations(self) -> Invitations:
        home = Home(self.peer.home)
        return Invitations(home, FederationStore(home).current().id)

    @property
    def invitation(self) -> Invitation:
        return self.invitations.all()[-1]

    def run(self, *command: str) -> None:
        outcome = self.peer("federation", *command)
        assert outcome.code == 0, outcome.err

    def invite(self, name: str, *options: str) -> Ticket:
        invited = self.peer("federation", "invite", "--name", name, "--role", "client", "--ipfs", self.ipfs, *options)
        assert invited.code == 0, invited.err
        return Ticket.parse(invited.out)

    def hear(self, ticket: Ticket, newcomer: Identity, *, killed: bool = False) -> Answer | None:
        """What a peer of this home answers a newcomer; None if it is killed once it has let it in."""
        home = Home(self.peer.home)
        admin = KeyStore(home.path).load(None, Passphrases())
        heard: list[bytes] = []
        with closing(open_engine(self.ipfs)) as engine:
            inviter = Inviter(home, ticket.federation, lambda: admin, engine, lambda _: None)
            if killed:
                inviter._welcome = _dies  # type: ignore[method-assign]  # between the two writes
            engine.publish = lambda topic, data: heard.append(data)  # type: ignore[method-assign]
            try:
                inviter.receive(seal_join(ticket.keys, Join(newcomer.public_for(bytes(ticket.federation)))))
            except Killed:
                return None
        return open_answer(ticket.keys, parse_join_envelope(heard[0]))

    def add(self, newcomer: Identity) -> None:
        """Add a member by the KEY that it shows for this federation."""
        federation = FederationStore(Home(self.peer.home)).current().id
        public = newcomer.public_for(bytes(federation))
        self.run("add", public.key_text(), "--name", newcomer.name, "--role", "client")

    @property
    def members(self) -> set[str]:
        return set(FederationStore(Home(self.peer.home)).current().manifest.names.values())


def _dies(*_: object) -> Answer:
    raise Killed


@pytest.fixture
def eve() -> Identity:
    return Identity.generate("eve")


@pytest.fixture(params=["--encrypt", "--no-encrypt"])
def admin(request: pytest.FixtureRequest, peers: Peers, tmp_path: Path) -> AdminHome:
    founder = peers("admin").named("hospital-a")
    home = AdminHome(founder, f"local:{tmp_path / 'engine'}")
    home.run("init", "trial", request.param)
    return home


def test_a_removed_member_is_not_let_in_by_an_invitation_that_a_crash_left_pending(
    admin: AdminHome, eve: Identity
) -> None:
    ticket = admin.invite("eve")
    assert admin.hear(ticket, eve, killed=True) is None
    assert "eve" in admin.members
    assert admin.invitation.state is InvitationState.PENDING
    pending = admin.invitation
    admin.run("remove", "eve")
    assert admin.hear(ticket, eve) == Refused(eve.id, WhyRefused.REMOVED)
    admin.invitations.keep(pending, 0.0)  # as if the removal had ended nothing: another home's would not
    assert admin.hear(ticket, eve) == Refused(eve.id, WhyRefused.REMOVED)
    assert "eve" not in admin.members


def test_a_crash_alone_keeps_nobody_out(admin: AdminHome, eve: Identity) -> None:
    ticket = admin.invite("eve")
    assert admin.hear(ticket, eve, killed=True) is None
    assert isinstance(admin.hear(ticket, eve), Welcomed)
    assert admin.invitation.state is InvitationState.USED


@pytest.mark.parametrize("command", [("federation", "remove"), ("keys", "revoke")], ids=" ".join)
def test_removing_a_member_ends_its_invitations(admin: AdminHome, eve: Identity, command: tuple[str, str]) -> None:
    kept, ticket = admin.invite("mallory"), admin.invite("eve")
    assert isinstance(admin.hear(ticket, eve), Welcomed)
    assert admin.peer(*command, "eve").code == 0
    states = {each.name: each.state for each in admin.invitations.all()}
    assert states == {"mallory": InvitationState.OPEN, "eve": InvitationState.ENDED}
    assert admin.hear(ticket, eve) == Refused(eve.id, WhyRefused.REMOVED)
    assert isinstance(admin.hear(kept, Identity.generate("mallory")), Welcomed)


def test_an_open_ticket_for_a_name_ends_with_the_member_that_had_the_name(admin: AdminHome, eve: Identity) -> None:
    """Eve was added by her KEY, and kept the ticket that was made for her."""
    ticket = admin.invite("eve")
    admin.add(eve)
    admin.run("remove", "eve")
    assert admin.invitation.state is InvitationState.ENDED
    another = Identity.generate("eve")
    assert admin.hear(ticket, another) == Refused(another.id, WhyRefused.REMOVED)


def test_a_new_invitation_lets_a_removed_member_in_again(admin: AdminHome, eve: Identity) -> None:
    old = admin.invite("eve")
    assert isinstance(admin.hear(old, eve), Welcomed)
    admin.run("remove", "eve")
    new = admin.invite("eve")
    assert admin.hear(old, eve) == Refused(eve.id, WhyRefused.REMOVED)
    assert isinstance(admin.hear(new, eve), Welcomed)


def test_what_another_admins_home_left_waiting_lets_nobody_back(peers: Peers, tmp_path: Path, eve: Identity) -> None:
    """Her own admin asks before he approves; meanwhile another one let her in, and took her out again."""
    ipfs, file = f"local:{tmp_path / 'engine'}", tmp_path / "file"
    one, two = AdminHome(peers("one").named("one"), ipfs), AdminHome(peers("two").named("two"), ipfs)
    one.run("init", "trial")
    one.run("add", two.peer.key_for(one.peer), "--name", "two", "--role", "client", "--admin")
    one.run("export", str(file), "--ipfs", ipfs)
    two.run("join", str(file))
    ticket = two.invite("eve", "--ask")
    assert isinstance(two.hear(ticket, eve), Pending)
    one.add(eve)
    one.run("remove", "eve")
    one.run("export", str(file), "--ipfs", ipfs)
    two.run("join", str(file))
    assert two.hear(ticket, eve) == Refused(eve.id, WhyRefused.REMOVED)
    approved = two.peer("federation", "approve", "eve", "--ipfs", ipfs)
    assert (approved.code, "removed" in approved.err) == (ExitCode.WRONG_USE, True)
    assert "eve" not in two.members


def test_nobody_is_approved_long_after_the_tickets_time(admin: AdminHome, eve: Identity) -> None:
    ticket = admin.invite("eve", "--ask")
    assert isinstance(admin.hear(ticket, eve), Pending)
    admin.invitations.keep(replace(admin.invitation, expires=1), 0.0)
    approved = admin.peer("federation", "approve", "eve", "--ipfs", admin.ipfs)
    assert approved.code == ExitCode.WRONG_USE
    assert "eve" not in admin.members


def test_a_clock_that_is_set_back_does_not_open_a_ticket_again(admin: AdminHome, eve: Identity) -> None:
    ticket = admin.invite("eve")
    in_time = admin.invitation
    admin.invitations.keep(replace(in_time, expires=1), 0.0)
    assert admin.hear(ticket, eve) == Refused(eve.id, WhyRefused.EXPIRED)
    admin.invitations.keep(replace(admin.invitation, expires=in_time.expires), 0.0)  # by that clock it is early again
    assert admin.hear(ticket, eve) == Refused(eve.id, WhyRefused.EXPIRED)
