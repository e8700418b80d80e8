"""The messages between the app process and the peer: typed values, no I/O.

The app process asks (`ServerCall`), and the peer answers (`ServerAnswer`) or, for a ClientApp, gives work (`Task`).
Contents do not go through here: both sides name them by CID, and the app process reads and writes them in the engine.
So a leader has its app process examine replies (`Examine`): the process that needs them reads them, once. An app
process that is given no engine asks its peer for blocks, over a socket of their own (`protocol.app.block_calls`).
`protocol.app.pipe` turns these values into bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from protocol.blocks.cid import CID, Block
from protocol.blocks.content import ContentKey, KeyedContent
from protocol.records.bodies import Look, RunConfig
from protocol.records.environment import Environment
from protocol.replay.differences import Cause, Difference
from protocol.replies.checks_and_limits import Examination, SizeLimits
from protocol.replies.strategy_rule import StrategyRule

Rules = tuple[tuple[str, StrategyRule], ...]
"""What the app's strategy accepts in answers to messages of each Flower type. Other types are not the strategy's."""


class ErrorCode(IntEnum):
    """The codes of Flower's ``flwr/common/constant.py`` that Pollen itself uses. An app's own pass unchanged."""

    LOAD_CLIENT_APP_EXCEPTION = 1
    CLIENT_APP_RAISED_EXCEPTION = 2
    MESSAGE_UNAVAILABLE = 3
    REPLY_MESSAGE_UNAVAILABLE = 4
    NODE_UNAVAILABLE = 5
    CLIENT_APP_CRASHED = 8


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message the ServerApp pushes."""

    content: CID
    type: str
    group: str
    ttl: int | float
    node: int
    round: int | None = field(default=None, compare=False)
    """The round, if the app names it. Only for people, and in no record."""
    root: bytes = field(default=b"", compare=False, repr=False)
    """The content's root block, in the first message of a push that has this content, if it is small
    (`protocol.blocks.root_hints`)."""


@dataclass(frozen=True, slots=True)
class Handed:
    """One reply as the ServerApp sees it: either ``content``, or a Flower error ``code`` with its ``reason``."""

    message: bytes
    created: float
    content: CID | None = None
    code: int | None = None
    reason: str = ""
    key: ContentKey | None = None
    """What opens the content."""
    not_kept: bool = False
    """In a replay: whether the content is not whole here, by policy."""


# -- from the app process ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AppReady:
    """Imports are done, and ``environment`` is what they found. The app itself is not loaded yet."""

    environment: Environment


@dataclass(frozen=True, slots=True)
class GetNodes:
    """``Grid.get_node_ids``."""

    call: int


@dataclass(frozen=True, slots=True)
class Push:
    """``Grid.push_messages``, with at least one message. The contents are already in the engine."""

    call: int
    messages: tuple[Outgoing, ...]
    epoch: int | None = None
    """The epoch of the contents; None if they are plain."""


@dataclass(frozen=True, slots=True)
class Pull:
    """``Grid.pull_messages``: the replies that are here now, perhaps none."""

    call: int
    messages: tuple[bytes, ...]
    rules: Rules = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """The second half of ``Grid.send_and_receive``: every reply, or those here after ``timeout`` seconds."""

    call: int
    messages: tuple[bytes, ...]
    timeout: float | None
    rules: Rules = ()


@dataclass(frozen=True, slots=True)
class NextEntry:
    """A replaying Grid asks for the next entry of its script."""

    call: int


@dataclass(frozen=True, slots=True)
class Compared:
    """A replaying Grid compared the messages of a dispatch with those recorded at ``height``, and goes on."""

    height: int
    messages: int
    """None of a dispatch, if it is the final model that differs."""
    difference: Difference | None = None
    """None if they are equal. Otherwise the app goes on with the recorded ones in place of its own."""
    ours: bytes = b""
    """A digest of what the app sent, if that is not what is recorded."""


@dataclass(frozen=True, slots=True)
class Diverged:
    """A replaying Grid, or the final model, differs from the chain. It is the verdict, whatever the app does next."""

    height: int
    """The height of the record that differs."""
    what: str
    """For people."""
    message: int | None = None
    """Which message of the dispatch, from 0."""
    difference: Difference | None = None
    """How the contents differ, if they do."""
    flowers_own: bool = False
    """Whether Flower's own code alone decided what is sent to whom."""
    ours: bytes = b""
    """A digest of what the app did."""
    raised: str = ""
    """What the app raised, if that is the difference: then there is no result to compare."""
    raised_there: bool = False
    """Whether the difference is that the app raised at this place when it was recorded, and did not now."""
    content: CID | None = None
    """What the app made in place of the recorded content, which is stored; None if something else differs."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replaying Grid reached the end of its script without a difference, and the run does not go on here."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The ServerApp returned (``error`` is empty) or raised. ``model`` is its final model's content, if it has one."""

    call: int
    model: CID | None
    error: str = ""
    epoch: int | None = None
    """The epoch of the model's content; None if that is plain."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The ClientApp answered a task: a content and the `Context.state` after it, or a Flower error."""

    message: bytes
    created: float
    content: CID | None = None
    state: CID | None = None
    code: int | None = None
    reason: str = ""
    round: int | None = None
    """The task's round, if the app names it. Only for people."""
    metrics: tuple[tuple[str, float], ...] = ()
    """What the app measured (`protocol.status.measures`). Only for people."""
    root: bytes = field(default=b"", compare=False, repr=False)
    """The content's root block, if that is small and the whole content (`protocol.blocks.root_hints`)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A line for people on how the run goes. Nothing is decided by it."""

    text: str


@dataclass(frozen=True, slots=True)
class Halted:
    """The app process cannot use its engine, and ends. Another one could not use it either."""

    why: str
    fix: str
    """What people can do about it, if anything."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What an `Examine` found. The content is here, unless ``found`` says otherwise."""

    effect: int
    found: Examination


@dataclass(frozen=True, slots=True)
class Failed:
    """An effect could not be carried out: of an `Examine`, a content that it needs could not be fetched."""

    effect: int
    why: str


# -- the script of a replay: what the records of a chain say to the app, in order ----------------------------------


@dataclass(frozen=True, slots=True)
class EntryHead:
    """What every entry has: its height, and what the app saw since the entry before."""

    height: int
    looks: tuple[Look, ...]
    empties: int
    """Pulls that gave nothing."""
    key: ContentKey | None = None
    """What the contents that the app wrote are encrypted with."""


@dataclass(frozen=True, slots=True)
class Scripted:
    """A recorded message."""

    id: bytes
    message: Outgoing


@dataclass(frozen=True, slots=True)
class DispatchEntry:
    """Answers `NextEntry`: a push."""

    call: int
    head: EntryHead
    created: float
    messages: tuple[Scripted, ...]
    loose: bool = False
    """Whether a reply before it is not kept: it is not compared, and takes the place of what the app sends."""
    gone: tuple[CID, ...] = ()
    """Which of its contents are not whole here."""


@dataclass(frozen=True, slots=True)
class CollectEntry:
    """Answers `NextEntry`: a pull or a wait that gave ``replies``. The app asked for ``unanswered`` too."""

    call: int
    head: EntryHead
    replies: tuple[Handed, ...]
    unanswered: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class QuietEntry:
    """Answers `NextEntry`: a record that the app did not cause (an index, a roster, a new environment)."""

    call: int
    head: EntryHead
    may_differ: Cause | None = None
    """As in `Start`, from here on; None if that stays as it is."""


@dataclass(frozen=True, slots=True)
class CloseEntry:
    """Answers `NextEntry`: the app ended."""

    call: int
    head: EntryHead
    raised: bool
    model: CID | None


@dataclass(frozen=True, slots=True)
class ScriptEnd:
    """Answers `NextEntry`: the record ends here. The Grid goes live, or stops."""

    call: int
    live: bool
    key: ContentKey | None = None
    """What the app encrypts contents with from now on."""


# -- to the app process --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    """The app's folder is whole: import what the app will import. `AppReady` answers."""


@dataclass(frozen=True, slots=True)
class Start:
    """Load the app and, for a ServerApp, run it."""

    run: CID
    node: int
    """This process's Flower node id; 1 for the server, as Flower's SuperLink has it."""
    seed: bytes = field(repr=False)
    """32 bytes: the run's seed for a ServerApp, the client's own secret for a ClientApp."""
    run_config: RunConfig
    node_config: RunConfig = ()
    scripted: bool = False
    """Whether the ServerApp's Grid begins with the script of what is recorded already."""
    initial_model: KeyedContent | None = None
    """The content of the arrays that a ServerApp has to begin with, if the run record names one."""
    key: ContentKey | None = None
    """What a ServerApp's contents are encrypted with until a `Renewed` says otherwise; None: they stay plain."""
    may_differ: Cause = Cause.NOTHING
    """What of a difference from the script may be this environment's doing: the app goes on after such a one."""
    changes_environment: bool = False
    """Whether a `QuietEntry` of the script may say something else of that."""
    any_model: bool = False
    """Whether a ServerApp may send out a model with NaN or infinities that its first model did not have."""
    elsewhere: bool = False
    """Whether a ServerApp is replayed once more, as at another time and place, to see if it does the same there."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Answers `GetNodes`, in rising order."""

    call: int
    nodes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pushed:
    """Answers `Push`: an id for each message, and the dispatch record's time as their ``created_at``."""

    call: int
    messages: tuple[bytes, ...]
    created: float


@dataclass(frozen=True, slots=True)
class Renewed:
    """Answers a `Push` or a `Finished` whose epoch is over: write the contents again with this key, and ask again."""

    call: int
    key: ContentKey


@dataclass(frozen=True, slots=True)
class Ended:
    """Answers `Finished`: the run's end is recorded."""

    call: int


@dataclass(frozen=True, slots=True)
class Replies:
    """Answers `Pull` and `Wait`, in the order of the messages asked for."""

    call: int
    replies: tuple[Handed, ...]


@dataclass(frozen=True, slots=True)
class PushRefused:
    """Answers a `Push` that breaks a rule (a message to no client member, say): the Grid raises ValueError."""

    call: int
    reason: str


@dataclass(frozen=True, slots=True)
class Task:
    """One message for the ClientApp. ``state`` is the `Context.state` to start from, None if there is none yet."""

    message: bytes
    content: CID
    type: str
    group: str
    ttl: int | float
    created: float
    state: CID | None = None
    key: ContentKey | None = None
    """What opens the content."""
    reply_key: ContentKey | None = None
    """What to encrypt the reply with; None: it stays plain."""
    state_key: ContentKey | None = None
    """The same for the state."""
    earlier_state_key: ContentKey | None = None
    """What opens a state that a version before this one wrote: one whose epoch is 0."""


@dataclass(frozen=True, slots=True)
class Examine:
    """Fetch and pin a reply's content with all it links, and say what is in it (`protocol.replies.checks_and_limits`).

    It may come while the app runs, or before it is loaded.
    """

    id: int
    message: bytes
    """The message that the reply answers."""
    sent: CID
    """The content of that message."""
    sent_key: ContentKey | None
    reply: CID
    reply_key: ContentKey | None
    limits: SizeLimits
    update: bool
    """Whether the message asked for an update."""
    measure: bool
    """Whether to measure the norm of the update's change."""
    root: Block | None = field(default=None, compare=False, repr=False)
    """The reply's root block, if it came with its record: the peer has it stored, and does not pass it on."""


ScriptEntry = DispatchEntry | CollectEntry | QuietEntry | CloseEntry | ScriptEnd
GridCall = GetNodes | Push | Pull | Wait | NextEntry | Finished
ServerCall = GridCall | Compared | Diverged | Replayed
ServerAnswer = Nodes | Pushed | Renewed | Ended | Replies | PushRefused | ScriptEntry
FromApp = AppReady | ServerCall | Answered | Examined | Failed | Progress | Halted
ToApp = Prepare | Start | ServerAnswer | Task | Examine


def contents_named(value: ToApp) -> tuple[CID, ...]:
    """The contents that the peer names to its app process by ``value``: those that it may read."""
    match value:
        case Start(initial_model=KeyedContent(content)):
            return (content,)
        case Task(content=content, state=state):
            return (content,) if state is None else (content, state)
        case Examine(sent=sent, reply=reply):
            return (sent, reply)
        case DispatchEntry(messages=messages):
            return tuple(each.message.content for each in messages)
        case CollectEntry(replies=replies) | Replies(replies=replies):
            return tuple(each.content for each in replies if each.content is not None)
        case CloseEntry(model=CID() as model):
            return (model,)
        case _:
            return ()
