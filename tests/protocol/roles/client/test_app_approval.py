"""Which app a client runs: the one its owner named, or one its owner approved, and no other."""

from __future__ import annotations

from a_client import OWN, AClient, plan
from chains import ALICE, ANSWER, APP, ENVIRONMENT, TIME, Scribe, begun

from protocol.app.calls import Answered, AppReady, Failed, Start, Task
from protocol.blocks.bundle import NamedBundle, write_bundle
from protocol.blocks.cid import Block, cbor_block
from protocol.records.bodies import Close, Outcome, ReasonPrivate
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.effects import (
    AskOwner,
    FetchContent,
    Hand,
    KeepReply,
    Publish,
    ReadBundle,
    StartApp,
    Store,
    UnpackApp,
    What,
)
from protocol.roles.events import AppLost, AppsApproved, Done, Fetched, ManifestChanged
from protocol.wire.announcements import (
    ReplyReady,
    parse_announcement,
)


def test_the_named_app_is_started_before_a_run_is_known() -> None:
    assert [start.app for start in AClient(plan(approved=None)).all(StartApp)] == [OWN]


def test_an_owner_that_named_an_app_is_not_asked_about_another() -> None:
    client = AClient(plan(approved=None))
    client.hear()
    assert client.reported(What.RUN_REFUSED)
    assert not client.all(AskOwner)
    client.feed(AppsApproved(frozenset({APP})))
    assert not client.all(UnpackApp)


OURS = [("a.py", b"1"), ("edited.py", b"1"), ("patients.py", b"")]
THEIRS = [("a.py", b"1"), ("edited.py", b"2"), ("more.py", b"")]


def declined_by(client: AClient, blocks: list[Block]) -> None:
    """It hears of a run whose app is another, and gets these blocks of it."""
    client.hear()
    (asked,) = client.all(ReadBundle)
    client.feed(Fetched(asked.id, {block.cid: block.data for block in blocks}))


def test_a_client_of_another_app_says_in_which_files_it_differs() -> None:
    app, blocks = write_bundle(THEIRS)
    scribe = Scribe()
    scribe.add(scribe.run(app=app))
    client = AClient(plan(approved=None, files=OURS), scribe)
    declined_by(client, blocks)
    assert client.note.endswith("they differ: other bytes in edited.py; lacking here: more.py; 1 here alone")
    assert client.reported(What.RUN_REFUSED)[-1]["why"].endswith("here alone: patients.py")
    assert not client.all(Hand)


def test_a_list_of_files_that_is_none_changes_nothing() -> None:
    client = AClient(plan(approved=None, files=OURS))
    declined_by(client, [])
    assert client.note == f"the run's app is {APP}, ours is {OWN}"


def test_an_unknown_app_waits_and_beats_say_for_what() -> None:
    client = AClient(plan())
    client.hear()
    assert [(asked.app, asked.run) for asked in client.all(AskOwner)] == [(APP, client.scribe.chain.run)]
    assert f"peer app approve {APP}" in client.note
    assert not client.all(UnpackApp)


def test_an_approval_of_another_app_changes_nothing() -> None:
    client = AClient(plan())
    client.hear()
    client.feed(AppsApproved(frozenset({cbor_block("another").cid})))
    assert not client.all(UnpackApp)
    assert client.note


def test_an_approved_app_is_unpacked_started_and_given_its_run() -> None:
    client = AClient(plan())
    client.hear()
    client.feed(AppsApproved(frozenset({APP})))
    (unpack,) = client.all(UnpackApp)
    assert (unpack.bundle, unpack.limit) == (NamedBundle(APP, APP, None), client.scribe.manifest.settings.max_app_bytes)
    assert not client.note
    client.feed(Done(unpack.id))
    client.feed(AppReady(ENVIRONMENT))
    assert [start.app for start in client.all(StartApp)] == [OWN, APP]
    assert [type(each.value) for each in client.all(Hand)] == [Start]


def test_the_process_of_the_named_app_is_never_given_a_run_of_another() -> None:
    client = AClient(plan(approved=frozenset({APP})))
    client.hear()
    client.feed(AppReady(ENVIRONMENT))  # of the named app, while the run's is unpacked
    assert not client.all(Hand)


def test_a_bundle_that_cannot_be_had_is_told_and_tried_again() -> None:
    client = AClient(plan(approved=frozenset({APP})))
    client.hear()
    (first,) = client.all(UnpackApp)
    client.feed(Failed(first.id, "nobody has it"))
    assert "nobody has it" in client.note
    client.wait(1.0)
    _, second = client.all(UnpackApp)
    client.feed(Done(second.id))
    assert not client.note
    assert client.all(StartApp)[-1].app == APP


def test_an_app_that_cannot_run_with_this_node_config_is_declined_with_the_reason() -> None:
    client = AClient(plan(None, approved=frozenset({APP}), unfit=lambda app, _: "it wants a partition" * (app == APP)))
    client.hear()
    assert client.note == "it wants a partition"
    assert not client.all(StartApp)


def test_an_approval_that_was_taken_back_does_not_hold_for_a_run_heard_of_later() -> None:
    client = AClient(plan(approved=frozenset({APP})))
    client.feed(AppsApproved(frozenset()))
    client.hear()
    assert client.all(AskOwner)
    assert not client.all(UnpackApp)


def test_a_run_that_closed_while_it_waited_is_not_begun_by_an_approval() -> None:
    scribe = begun()
    client = AClient(plan(), scribe)
    client.hear()
    scribe.add(scribe.close())
    client.hear()
    client.feed(AppsApproved(frozenset({APP})))
    assert not client.all(UnpackApp)


# -- in a run that is encrypted ------------------------------------------------------------------------------------


def tasks(client: AClient) -> list[Task]:
    """The messages that its app is given."""
    return [each.value for each in client.all(Hand) if isinstance(each.value, Task)]


def first_task(client: AClient) -> Task:
    client.hear()
    client.feed(AppReady(ENVIRONMENT))
    client.feed(Done(client.all(FetchContent)[0].id))
    (task,) = tasks(client)
    return task


def test_what_updates_are_encrypted_with_does_not_follow_from_what_the_home_keeps() -> None:
    """Its secret is made from the first signing key. A thief of that key must not read updates."""
    scribe = begun(encrypted=True)
    one, other = (first_task(AClient(plan(APP), scribe)) for _ in range(2))
    assert one.reply_key is not None
    assert other.reply_key is not None
    assert one.reply_key.key != other.reply_key.key
    assert one.state_key == other.state_key  # an older state still opens


def test_a_message_waits_for_the_roster_once_a_newer_manifest_is_known() -> None:
    """A member that has left could read what is answered in the epoch before."""
    client = AClient(plan(APP), begun(encrypted=True))
    client.hear()
    client.feed(AppReady(ENVIRONMENT))
    newer = client.scribe.with_dave().cid
    client.feed(ManifestChanged(newer, client.scribe.source))
    client.feed(Done(client.all(FetchContent)[0].id))
    assert not tasks(client)
    client.scribe.add(client.scribe.roster(newer))
    client.hear()
    assert [task.reply_key and task.reply_key.epoch for task in tasks(client)] == [2]


def test_a_message_that_is_answered_is_not_given_to_another_app_process() -> None:
    """Its reply is on its way to disk: a second one would be two answers to one message."""
    client = AClient(plan(APP), begun(encrypted=True))
    task = first_task(client)
    client.feed(Answered(task.message, TIME, content=ANSWER))
    client.feed(AppLost("it ended"))
    client.feed(AppReady(ENVIRONMENT))
    assert len(tasks(client)) == 1


def test_a_reply_of_before_a_restart_is_announced_with_its_block() -> None:
    """Its own journal has it: the engine, from which the leader would fetch it, may have lost it."""
    scribe = begun()
    reply, message = scribe.taken(ALICE).reply, scribe.message(ALICE).id
    client = AClient(plan(APP), scribe, {scribe.chain.run: KeptRun(replies={message: reply})})
    client.feed(AppReady(ENVIRONMENT))
    client.hear()
    client.wait(3)
    said = [parse_announcement(each.data).announcement for each in client.all(Publish)]
    inline = [[block.cid for block in each.blocks] for each in said if isinstance(each.body, ReplyReady)]
    assert inline == [[reply]]


# -- an app that fails ---------------------------------------------------------------------------------------------


def kept(client: AClient) -> None:
    """What it wants on disk is there."""
    for kind in (Store, KeepReply):
        for effect in client.all(kind):
            if effect.id not in client.done:
                client.done.add(effect.id)
                client.feed(Done(effect.id))


def test_an_error_is_told_with_name_message_round_and_reason_and_fails_a_client_that_did_nothing_else() -> None:
    client = AClient(plan(APP))
    task = first_task(client)
    failed = Answered(task.message, TIME, code=2, reason="<class 'KeyError'>:<'x'>", round=3)
    client.feed(failed)
    kept(client)
    (told,) = client.reported(What.TASK_FAILED)
    assert (told["name"], told["type"], told["round"]) == ("alice", task.type, 3)
    assert told["why"] == failed.reason
    assert not client.reported(What.TASK_ANSWERED)
    assert client.machine.failure == "the ClientApp answered every training message with an error"


def test_a_client_that_answered_one_message_has_not_failed() -> None:
    client = AClient(plan(APP))
    client.feed(Answered(first_task(client).message, TIME, content=ANSWER))
    kept(client)
    assert client.reported(What.TASK_ANSWERED)
    assert not client.machine.failure


def test_a_run_that_the_server_app_ended_is_told_as_that() -> None:
    scribe = begun()
    private = scribe.private(ReasonPrivate(reason="division by zero"), Close.TYPE, scribe.epoch)
    scribe.add(scribe.close(outcome=Outcome.RAISED, **private))
    client = AClient(plan(APP), scribe)
    client.hear()
    (told,) = client.reported(What.RUN_CLOSED)
    assert (told["outcome"], told["why"]) == ("raised", "division by zero")


def test_an_app_that_ends_while_it_has_no_message_is_started_again_by_the_next_one() -> None:
    """An app that cannot be imported, and kills its process, would be started for ever."""
    client = AClient(plan(APP))
    client.hear()
    client.feed(AppReady(ENVIRONMENT))
    started = len(client.all(StartApp))
    client.feed(AppLost("it ended"))
    assert len(client.all(StartApp)) == started
    client.feed(Done(client.all(FetchContent)[0].id))
    assert len(client.all(StartApp)) == started + 1
    client.feed(AppReady(ENVIRONMENT))
    assert len(tasks(client)) == 1
    client.feed(AppLost("it ended again"))
    assert len(client.all(StartApp)) == started + 2  # it had a message: that is tried once more


def test_an_app_that_ends_while_its_message_waits_for_the_roster_is_started_again_by_the_roster() -> None:
    client = AClient(plan(APP))
    client.hear()
    client.feed(AppReady(ENVIRONMENT))
    newer = client.scribe.with_dave().cid
    client.feed(ManifestChanged(newer, client.scribe.source))
    client.feed(Done(client.all(FetchContent)[0].id))
    started = len(client.all(StartApp))
    client.feed(AppLost("it ended"))
    assert len(client.all(StartApp)) == started
    client.scribe.add(client.scribe.roster(newer))
    client.hear()
    assert len(client.all(StartApp)) == started + 1


def test_an_app_that_was_lost_is_there_for_the_next_run() -> None:
    scribe = begun()
    client = AClient(plan(APP), scribe)
    client.hear()
    client.feed(AppReady(ENVIRONMENT))
    client.feed(AppLost("it ended"))
    started = len(client.all(StartApp))
    scribe.add(scribe.close())
    client.hear()
    assert len(client.all(StartApp)) == started + 1
