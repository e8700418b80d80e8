"""``peer federation invite`` and ``peer join``: two people, two homes, one ticket."""

from __future__ import annotations

import base64
import io
import math
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import Outcome, Peer

from crypto.identity import Identity, PublicIdentity
from peer.base.errors import ExitCode
from peer.cli.output import moment
from peer.engine import open_engine
from peer.engine.chosen_engine import chosen
from peer.engine.interface import EngineError
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.invitations import Invitations
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership import joining
from peer.membership.joining import Inviter
from protocol.joining.messages import Join, Welcomed, seal_answer, seal_join, topic_join
from protocol.joining.tickets import Ticket
from protocol.roles.effects import Report

Peers = Callable[[str], Peer]


class Admin:
    """The founder of the federation ``trial``, whose peer runs while `at_work`."""

    def __init__(self, peer: Peer, ipfs: str) -> None:
        self.peer, self.ipfs = peer, ipfs
        self.reports: list[Report] = []

    def invite(self, *options: str, name: str = "hospital-b") -> str:
        invited = self.peer("federation", "invite", "--name", name, "--role", "client", "--ipfs", self.ipfs, *options)
        assert invited.code == ExitCode.DONE, invited.err
        return invited.out.strip()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """What a running peer of this home does with newcomers."""
        home = Home(self.peer.home)
        keys = KeyStore(home.path).load(None, Passphrases())
        federation = FederationStore(home).current().id
        with (
            closing(open_engine(self.ipfs)) as engine,
            Inviter(home, federation, lambda: keys, engine, self.reports.append).listening(),
        ):
            yield

    @property
    def members(self) -> dict[str, list[str]]:
        shown = self.peer("federation", "show", "--json").json
        return {each["name"]: each["roles"] for each in shown["members"]}

    @property
    def invitations(self) -> list[tuple[str, str]]:
        """Names and states."""
        listed = self.peer("federation", "approve", "--json").json["invitations"]
        return [(each["name"], each["state"]) for each in listed]


@pytest.fixture
def ipfs(tmp_path: Path) -> str:
    return f"local:{tmp_path / 'engine'}"


@pytest.fixture
def admin(peers: Peers, ipfs: str) -> Admin:
    founder = peers("admin").named("hospital-a")
    assert founder("federation", "init", "trial").code == 0
    return Admin(founder, ipfs)


@pytest.fixture
def newcomer(peers: Peers) -> Peer:
    return peers("newcomer")


def join(peer: Peer, ipfs: str, ticket: str, *options: str) -> Outcome:
    return peer("join", ticket, "--ipfs", ipfs, "--no-passphrase", *options)


# -- getting in ----------------------------------------------------------------------------------------------------


def test_a_ticket_makes_an_identity_a_member_of_that_name(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    ticket = admin.invite("--role", "auditor")
    with admin.at_work():
        joined = join(newcomer, ipfs, ticket, "--json")
    assert joined.code == ExitCode.DONE, joined.err
    assert (joined.json["name"], joined.json["roles"]) == ("hospital-b", ["client", "auditor"])
    assert admin.members["hospital-b"] == ["client", "auditor"]
    assert newcomer("keys", "list", "--json").json["keys"][0]["name"] == "hospital-b"
    assert newcomer("federation", "show", "--json").json["name"] == "trial"


def test_a_newcomer_is_told_who_it_is_and_what_to_do_next(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    ticket = admin.invite()
    with admin.at_work():
        said = join(newcomer, ipfs, ticket).out
    assert "you are hospital-b: client" in said
    assert "next: peer start --role client" in said


def test_the_engine_that_a_ticket_names_is_the_homes_from_then_on(admin: Admin, ipfs: str) -> None:
    assert chosen(Home(admin.peer.home), None) != ipfs
    admin.invite()
    assert chosen(Home(admin.peer.home), None) == ipfs


def test_an_identity_that_is_there_already_joins(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    newcomer.named("mine")
    ticket = admin.invite()
    with admin.at_work():
        assert join(newcomer, ipfs, ticket, "--json").json["identity"] == "mine"
    assert admin.members.keys() == {"hospital-a", "hospital-b"}


def test_joining_again_is_harmless(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    ticket = admin.invite()
    with admin.at_work():
        first = join(newcomer, ipfs, ticket, "--json")
    again = join(newcomer, ipfs, ticket, "--json", "--wait", "0.1")  # and needs nobody
    assert again.json == first.json


def test_a_removed_member_is_told_so_and_comes_back_with_a_new_ticket(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    """Its home still has the version that lists it."""
    old = admin.invite()
    with admin.at_work():
        assert join(newcomer, ipfs, old).code == ExitCode.DONE
        admin.peer("federation", "remove", "hospital-b")
        refused = join(newcomer, ipfs, old)
        assert (refused.code, "was taken out of the federation" in refused.err) == (ExitCode.WRONG_USE, True)
        assert join(newcomer, ipfs, admin.invite()).code == ExitCode.DONE
    assert "hospital-b" in admin.members


def test_a_newcomer_that_lost_the_answer_asks_again(
    admin: Admin, newcomer: Peer, ipfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = admin.invite()

    def lose(*_: object) -> None:
        raise EngineError("the engine went away")

    with admin.at_work(), monkeypatch.context() as lossy:
        lossy.setattr("peer.cli.federation.join.accept", lose)
        assert join(newcomer, ipfs, ticket).code == ExitCode.UNFINISHED
    assert "hospital-b" in admin.members
    with admin.at_work():
        assert join(newcomer, ipfs, ticket).code == ExitCode.DONE


def test_a_join_that_is_repeated_all_the_time_takes_a_tenth_of_a_core(
    admin: Admin, ipfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts the answers, by a clock on which each takes half a second of processor time."""
    ticket, newcomer = Ticket.parse(admin.invite()), Identity.generate("new")
    now, worked, answers = [0.0], [0.0], list[bytes]()
    clock = SimpleNamespace(time=time.time, monotonic=lambda: now[0], thread_time=lambda: worked[0])
    monkeypatch.setattr("peer.membership.joining.time", clock)
    home = Home(admin.peer.home)
    keys = KeyStore(home.path).load(None, Passphrases())

    def publish(_: str, data: bytes) -> None:
        worked[0] += 0.5
        answers.append(data)

    with closing(open_engine(ipfs)) as engine:
        engine.publish = publish  # type: ignore[method-assign]
        inviter = Inviter(home, ticket.federation, lambda: keys, engine, lambda _: None)
        join = seal_join(ticket.keys, Join(newcomer.public_for(bytes(ticket.federation))))
        for tenth in range(200):
            now[0] = tenth / 10
            inviter.receive(join)
    assert len(answers) == 5  # in 20 s: at 0, 4.5, 9, 13.5 and 18


def test_an_inviter_tells_how_long_the_newcomer_has_been_silent(
    admin: Admin, ipfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has not heard the answer asks again, so `peer federation invite --wait` stays until it is silent."""
    ticket, newcomer = Ticket.parse(admin.invite()), Identity.generate("new")
    now = [100.0]
    clock = SimpleNamespace(time=time.time, monotonic=lambda: now[0], thread_time=time.thread_time)
    monkeypatch.setattr("peer.membership.joining.time", clock)
    home = Home(admin.peer.home)
    keys = KeyStore(home.path).load(None, Passphrases())
    (invitation,) = Invitations(home, ticket.federation).all()
    with closing(open_engine(ipfs)) as engine:
        inviter = Inviter(home, ticket.federation, lambda: keys, engine, lambda _: None)
        assert inviter.asked_ago(invitation) == math.inf
        for now[0] in (110.0, 120.0):
            inviter.receive(seal_join(ticket.keys, Join(newcomer.public_for(bytes(ticket.federation)))))
        now[0] = 123.0
        assert inviter.asked_ago(invitation) == 3.0


def test_versions_that_are_too_many_for_a_message_come_from_the_engine(
    admin: Admin, newcomer: Peer, ipfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "inline_blocks", lambda _blocks: ())
    ticket = admin.invite()
    with admin.at_work():
        assert join(newcomer, ipfs, ticket).code == ExitCode.DONE
    assert newcomer("federation", "show", "--json").json["version"] == 2


def test_a_ticket_can_be_read_from_standard_input(
    admin: Admin, newcomer: Peer, ipfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command line would show it in the list of processes."""
    ticket = admin.invite()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ticket}\n"))
    with admin.at_work():
        assert join(newcomer, ipfs, "-").code == ExitCode.DONE


# -- not getting in ------------------------------------------------------------------------------------------------


def refused(peer: Peer, ipfs: str, ticket: str) -> str:
    outcome = join(peer, ipfs, ticket, "--wait", "30")
    assert outcome.code == ExitCode.WRONG_USE, outcome.err
    return outcome.err


def test_a_ticket_lets_nobody_else_in(admin: Admin, newcomer: Peer, peers: Peers, ipfs: str) -> None:
    ticket = admin.invite()
    with admin.at_work():
        assert join(newcomer, ipfs, ticket).code == ExitCode.DONE
        assert "somebody else has used the ticket" in refused(peers("thief"), ipfs, ticket)
    assert admin.members.keys() == {"hospital-a", "hospital-b"}


def test_a_new_ticket_for_a_name_ends_the_one_before(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    lost, sent = admin.invite(), admin.invite()
    with admin.at_work():
        assert "ticket has expired" in refused(newcomer, ipfs, lost)
        assert join(newcomer, ipfs, sent).code == ExitCode.DONE


def test_a_removed_member_stays_out(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    ticket = admin.invite()
    with admin.at_work():
        join(newcomer, ipfs, ticket)
        assert admin.peer("federation", "remove", "hospital-b").code == 0
        (newcomer.home / "federations").rename(newcomer.home / "forgotten")
        assert "taken out" in refused(newcomer, ipfs, ticket)


def test_a_name_that_was_given_away_meanwhile_is_not_given_twice(
    admin: Admin, newcomer: Peer, peers: Peers, ipfs: str
) -> None:
    ticket = admin.invite()
    admin.peer(
        "federation", "add", peers("c").named("c").key_for(admin.peer), "--name", "hospital-b", "--role", "client"
    )
    with admin.at_work():
        assert "has the name" in refused(newcomer, ipfs, ticket)


def test_a_revoked_key_is_not_let_in(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    key = newcomer.named("b").key_for(admin.peer)
    admin.peer("federation", "add", key, "--name", "b", "--role", "client")
    assert admin.peer("keys", "revoke", "b").code == 0
    ticket = admin.invite()
    with admin.at_work():
        assert "rules do not allow it" in refused(newcomer, ipfs, ticket)


def test_nobody_answers(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    outcome = join(newcomer, ipfs, admin.invite(), "--wait", "0.2")
    assert outcome.code == ExitCode.UNFINISHED
    assert "nobody answered within 0.2 s" in outcome.err
    assert "peer federation invite --wait" in outcome.err


def test_a_ticket_of_another_secret_gets_no_answer(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    ticket = Ticket.parse(admin.invite())
    forged = Ticket(ticket.federation, ticket.name, ticket.addresses, ticket.swarm_key, bytes(32), ticket.expires)
    with admin.at_work():
        assert join(newcomer, ipfs, forged.text(), "--wait", "0.5").code == ExitCode.UNFINISHED
    assert list(admin.members) == ["hospital-a"]


def test_a_damaged_ticket_makes_nothing(newcomer: Peer, ipfs: str, admin: Admin) -> None:
    outcome = join(newcomer, ipfs, admin.invite()[:-3])
    assert outcome.code == ExitCode.WRONG_USE
    assert "mistyped" in outcome.err or "cut short" in outcome.err
    assert not newcomer.home.exists()


def test_a_ticket_that_a_space_cut_in_two_is_refused_and_not_repeated(newcomer: Peer, ipfs: str, admin: Admin) -> None:
    ticket = admin.invite()
    cut = next(at for at in range(60, len(ticket)) if ticket[at] != "-")  # what begins with a dash is an option
    outcome = newcomer("join", ticket[:cut], ticket[cut:], "--ipfs", ipfs)
    assert (outcome.code, "a space or a line break" in outcome.err) == (ExitCode.WRONG_USE, True)
    assert ticket[cut:] not in outcome.err


def test_peers_of_one_directory_need_it_named(newcomer: Peer, ipfs: str, admin: Admin) -> None:
    outcome = newcomer("join", admin.invite(), "--no-passphrase")
    assert outcome.code == ExitCode.WRONG_USE
    assert f"--ipfs {ipfs}" in outcome.err


# -- an admin who decides ------------------------------------------------------------------------------------------


def test_an_admin_who_asked_to_be_asked_decides(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    ticket = admin.invite("--ask")
    with admin.at_work():
        waiting = join(newcomer, ipfs, ticket, "--wait", "0.5")
        assert waiting.code == ExitCode.UNFINISHED
        assert "peer federation approve" in waiting.err
        assert admin.invitations == [("hospital-b", "pending")]
        assert list(admin.members) == ["hospital-a"]

        assert admin.peer("federation", "approve", "hospital-b").code == ExitCode.DONE
        assert join(newcomer, ipfs, ticket).code == ExitCode.DONE
    assert admin.invitations == [("hospital-b", "used")]


def test_somebody_who_waits_has_used_the_ticket(admin: Admin, newcomer: Peer, peers: Peers, ipfs: str) -> None:
    ticket = admin.invite("--ask")
    with admin.at_work():
        join(newcomer, ipfs, ticket, "--wait", "0.5")
        assert "somebody else has used the ticket" in refused(peers("thief"), ipfs, ticket)


def test_the_end_of_an_invitation_is_a_date(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.invite()
    listed = admin.peer("federation", "approve").out
    (expires,) = (each["expires"] for each in admin.peer("federation", "approve", "--json").json["invitations"])
    assert moment(expires) in listed


def test_only_a_newcomer_that_waits_is_approved(admin: Admin) -> None:
    admin.invite()
    outcome = admin.peer("federation", "approve", "hospital-b")
    assert outcome.code == ExitCode.WRONG_USE
    assert "no newcomer waits" in outcome.err


# -- inviting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["24", "0h", "-1h", "1w", "400d", "h"])
def test_a_time_that_is_none_is_refused(admin: Admin, time: str) -> None:
    outcome = admin.peer("federation", "invite", "--name", "b", "--role", "client", "--expires", time)
    assert outcome.code == ExitCode.WRONG_USE
    assert "30m, 24h or 7d" in outcome.err


@pytest.mark.parametrize(("name", "why"), [("hospital-a", "is called"), ("", "not a name"), ("a\nb", "not a name")])
def test_a_name_that_cannot_be_given_is_not_promised(admin: Admin, ipfs: str, name: str, why: str) -> None:
    outcome = admin.peer("federation", "invite", "--name", name, "--role", "client", "--ipfs", ipfs)
    assert outcome.code == ExitCode.WRONG_USE
    assert why in outcome.err


def test_only_admins_invite(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    ticket = admin.invite()
    with admin.at_work():
        join(newcomer, ipfs, ticket)
    outcome = newcomer("federation", "invite", "--name", "c", "--role", "client", "--ipfs", ipfs)
    assert outcome.code == ExitCode.WRONG_USE
    assert "not an admin" in outcome.err


def test_an_admin_that_cannot_add_members_alone_shows_the_newcomer_as_pending(
    admin: Admin, newcomer: Peer, peers: Peers, ipfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "can_change_alone", lambda *_: False)
    ticket = admin.invite()
    with admin.at_work():
        assert join(newcomer, ipfs, ticket, "--wait", "0.5").code == ExitCode.UNFINISHED
    assert [report.fields["name"] for report in admin.reports if report.what == "join-pending"][:1] == ["hospital-b"]
    assert admin.invitations == [("hospital-b", "pending")]


# -- secrets -------------------------------------------------------------------------------------------------------


def everything_in(*folders: Path) -> bytes:
    return b"\n".join(path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file())


def test_the_secret_of_a_ticket_is_in_no_message_no_engine_and_no_home(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    text = admin.invite()
    with admin.at_work():
        joined = join(newcomer, ipfs, text, "-v")
    ticket = Ticket.parse(text)
    engine = everything_in(Path(ipfs.removeprefix("local:")))
    homes = everything_in(admin.peer.home, newcomer.home)
    assert ticket.keys.tag in engine  # the messages are there
    for secret in (ticket.secret, text.encode(), ticket.secret.hex().encode(), base64.b64encode(ticket.secret)):
        assert secret not in engine
        assert secret not in homes
        assert secret not in (joined.out + joined.err).encode()
    assert ticket.keys.root not in engine
    assert b"hospital-b" not in engine
    assert newcomer.key.encode() not in engine


def test_what_opens_the_messages_is_for_the_admin_alone_to_read(admin: Admin) -> None:
    admin.invite()
    file = Invitations(Home(admin.peer.home), FederationStore(Home(admin.peer.home)).current().id).path
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_damaged_file_of_invitations_says_so(admin: Admin) -> None:
    admin.invite()
    (file,) = (admin.peer.home / "federations").glob("*.invitations")
    file.write_bytes(b"\x00" + file.read_bytes()[1:])
    outcome = admin.peer("federation", "approve")
    assert outcome.code == ExitCode.WRONG_USE
    assert "is damaged" in outcome.err


def welcomed_by_a_forger(newcomer: Peer, admin: Admin, ipfs: str, theirs: Peer) -> Outcome:
    """Somebody else who has the ticket answers, with the federation of ``theirs``."""
    ticket = Ticket.parse(admin.invite())
    (invitation,) = Invitations(Home(admin.peer.home), ticket.federation).all()
    stored = FederationStore(Home(theirs.home)).current()
    me = PublicIdentity.parse_key_text(newcomer.key)
    welcomed = Welcomed(me.id, stored.manifest.cid, tuple(stored.blocks.values()), ())
    topic, answer = topic_join(ticket.federation), seal_answer(invitation.keys, welcomed)
    with closing(open_engine(ipfs)) as engine:
        subscription = engine.subscribe(topic, lambda data: None if data == answer else engine.publish(topic, answer))
        outcome = join(newcomer, ipfs, ticket.text())
        subscription.close()
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert not list((newcomer.home / "federations").glob("*.car"))
    return outcome


def test_a_welcome_to_another_federation_is_not_believed(admin: Admin, newcomer: Peer, peers: Peers, ipfs: str) -> None:
    other = peers("other").named("other")
    other("federation", "init", "trial")
    other("federation", "add", newcomer.named("b").key_for(other), "--name", "b", "--role", "client")
    outcome = welcomed_by_a_forger(newcomer, admin, ipfs, other)
    assert "does not belong to federation" in outcome.err


def test_a_welcome_by_a_manifest_without_the_newcomer_is_not_believed(admin: Admin, newcomer: Peer, ipfs: str) -> None:
    outcome = welcomed_by_a_forger(newcomer.named("b"), admin, ipfs, admin.peer)
    assert "the manifest that it names does not" in outcome.err
