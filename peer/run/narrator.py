"""What a running peer tells people. All reports go to the log; those that people need are also a line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from peer.base import logs
from peer.base.logs import Field
from protocol.app.calls import ErrorCode
from protocol.app.errors import parse_raised
from protocol.blocks.cid import LABEL
from protocol.keeping.plan import DROP_UPDATES
from protocol.records.bodies import Outcome
from protocol.records.environment import Numerics
from protocol.roles.effects import Report, What
from protocol.roles.waiting import Awaited
from protocol.visible import named, quoted

Fields = Mapping[str, Field]

AUDITED_HERE_ONLY: Final = "a replay on another kind of processor may differ in the last bits, and then proves nothing"
"""The price of native numerics."""

_LINES: Final[Mapping[What, str]] = {
    What.TOOK_OVER: "leading the run {run} in term {term}, after height {height}",
    What.TAKEN_OVER: "{name} leads the run {run} in term {term}: this server stands by",
    What.RUN_RESUMED: "going on with run {run}, which was left open at height {height}",
    What.ENVIRONMENT_CHANGED: "this is not the environment in which the run went on so far ({why}): the chain will say "
    "so, and an audit elsewhere may not be able to tell whether what follows was computed as it says; to have it told "
    "where the run began, go on there, or begin a new run with --initial-model",
    What.RUN_KEPT: "keeping run {run} of {name}",
    What.RUN_WHOLE: "all of run {run} is here: {height} records and what they name",
    What.KEEPERS_AWAITED: "the run is closed; waiting {within:.0f} s more at most for {whom} to have all of it. "
    "Ctrl-C ends this at once",
    What.RUN_LOST: "run {run} cannot be followed: {why}",
    What.LEADER_CHANGED: "{name} leads run {run} from here on (term {term})",
    What.LAID_DOWN: "most servers contradict the dispatch of run {run} after height {height}, and came to one other "
    "content: it and what follows are left behind (records: {count}); one of those servers is to lead on from there",
    What.RECORDS_LOST: "the newest records of run {run} are lost (records: {count}): another server was elected, and "
    "goes on after height {height}; what this peer answered is kept",
    What.CLAIM_REFUSED: "{name} says that it was elected to lead run {run}, and is not believed: {why}",
    What.PEER_HERE: "{name} is here",
    What.APP_BUNDLED: "the app {name} has {files} files with {bytes} bytes, as Flower bundles them{others}: {whose}",
    What.APP_FILES_STAY: "{count} files of the app's folder stay here, as with Flower (which takes .py, .toml, .md, "
    ".yaml, .yml, .json, .jsonl and LICENSE, except by .gitignore, fab-include and fab-exclude): {some}; "
    "if the app opens them, they have to be on each machine",
    What.BUILT_IN_APP_UNFIT: "this client takes no part in runs of the built-in app: {why}",
    What.WAITING_FOR_CLIENTS: "waiting for clients: {here} of {needed} are here",
    What.REPLY_REFUSED: "a reply of {name} is not taken: {why}",
    What.ALL_REFUSED: "all replies were refused by the check {check}; "
    "if the app means to send such replies, leave the check out with {option}: see `peer start --help`",
    What.REPLY_LATE: "a reply of {name} came late: its exchange had closed. The next collect tells of it",
    What.CLOSING_UNUSED: "the app collects its replies by itself, so it decides itself whom it waits for: "
    "--min-replies and --round-deadline have no effect",
    What.CLOSING_OVER_MEMBERS: "--min-replies {needed} is more than the {clients} clients of the federation: "
    "each exchange waits for all its replies",
    What.ALL_AWAITED: "--min-replies {needed} is more than the {messages} messages of this exchange: it waits for all "
    "its replies",
    What.TASK_LATE: "our answer came after its exchange had closed: the run tells of it as late, and the app does not "
    "get it",
    What.BOUND_UNUSED: "--max-update-norm {bound} has no effect: {why}",
    What.ACK_REFUSED: "an ack of {name} is refused: {why}",
    What.DISPATCHED: "messages out: {messages} (height {height})",
    What.COLLECTED: "replies in: {replies}, of which errors: {errors} (height {height})",
    What.TASK_STARTED: "working on a message: {type}",
    What.TASK_ABANDONED: "left a message unanswered ({type}): the server that was elected has sent others instead",
    What.APP_UNAPPROVED: (
        "run {run} waits until you approve its app {name}; read it with `peer app show {app}`, "
        "let it run here with `peer app approve {app}`"
    ),
    What.APP_PROGRESS: "{text}",
    What.APP_LACKS: (
        "the app needs packages that are not installed: {lacks}; install them where this peer runs: "
        f"{sys.executable} -m pip install ..."
    ),
    What.JOINED: "{name} has joined with its ticket: manifest version {version}",
    What.JOIN_PENDING: "{name} wants to join with its ticket; let it in with: peer federation approve {name}",
    What.JOIN_REFUSED: "somebody tried a ticket for {name}, and was refused: {why}",
    What.EQUIVOCATION: "{name} has signed two different records at one place and is not followed any more: "
    "peer audit {proof} shows both",
    What.PAUSED: "paused, with no room on the disk: {why}",
    What.UNPAUSED: "there is room on the disk again: going on",
    What.PUBSUB_REFUSED: "nobody hears this peer by pubsub: {why}; fix: {fix}",
    What.PUBSUB_UNHEARD: "the node {node} does not hear this one by pubsub, as if a clock had been set back; the run "
    "goes on by asking, more slowly; fix, on that node's machine: {fix}",
    What.PUBSUB_NOT_HEARING: "this node does not hear the node {node} by pubsub, as if a clock had been set back; the "
    "run goes on by asking, more slowly; fix, where this peer's node is: {fix}",
    What.ASKING_OFF: "{why}: what pubsub loses for long is lost; fix: {fix}",
    What.KEYS_DESTROYED: "the keys of {runs} are destroyed in this home, as its federation's admins ordered",
    What.KEYS_TO_DESTROY: "keys of shredded runs are not destroyed yet: {why}",
    What.KEYS_LISTED: "manifest version {version} lists the new keys of {whom}, who can destroy their old ones now",
    What.RECOMPUTED: "computed the same as the server (height {height}; messages: {messages})",
    What.COMPUTED_OTHERWISE: "computed something else than the server has recorded, twice, and signs that (height "
    "{height}): {why}",
    What.NOT_TOLD: "cannot tell if the server computed right (height {height}): {why}",
    What.NOT_SIGNED: "nothing more is signed of run {run}: {why}",
    What.CONTRADICTED: "{name} has replayed run {run} and computed something else than is recorded at height {height}: "
    "peer dispute {run} -o dispute.car writes both words down, and peer audit dispute.car says who is wrong",
    What.WITNESSES_AWAITED: "paused, because clients train only on what {needed} other servers have recomputed, and "
    "{have} have: waiting for {whom}; fix: start it (peer start --role server --standby)",
    What.WITNESSED: "enough other servers have recomputed what clients train on: going on",
    What.VOTED: "votes for {name} to lead run {run} (term {term})",
    What.STANDS: "the leader of run {run} is silent: asking who would have this server lead it (term {term})",
    What.STANDS_NO_MORE: "this server does not lead run {run} (term {term}), and tries again if its leader stays "
    "silent: {why}",
    What.ELECTED: "elected to lead run {run} (term {term}), with {votes} votes",
    What.WARRANTED: "{name}, an admin, wants this server to lead run {run}: asking the others to elect it",
    What.TO_HAND_OVER: "{by}, an admin, wants {name} to lead run {run}: recording nothing more, and asking the others "
    "to elect it",
    What.HANDED_OVER: "{name} hands run {run} over to this server: asking the others to elect it",
    What.NOT_HANDED_OVER: "{name} was not elected to lead run {run}: this server goes on with it; fix: see that {name} "
    "stands by (peer status), then peer lead RUN --to {name} again",
    What.VOTERS_LACKING: "too few of the run's voters are heard ({here} of {voters}, and {needed} are needed): nothing "
    "is recorded until they are back, because another server may lead by now",
    What.NO_TAKEOVER: "no takeover is possible now if the run's leader is lost: {why}",
    What.TAKEOVER_POSSIBLE: "another server can take the run over if its leader is lost",
    What.CLOSE_UNSETTLED: "run {run} is closed, and too few of its voters have confirmed that: a server that stands by "
    "may lead it on from before",
    What.VOTERS_BACK: "enough of the run's voters are heard again: going on",
    What.MANIFEST_IN_FORCE: "manifest version {version} is in force",
}


_NAMES: Final = {"name", "app", "type", "last"}
"""The fields with a name that others have given."""

_WHOM: Final = "whom"
"""The field with several of them."""

_LABELLED: Final = frozenset({"run", "head"})
"""The fields with CIDs of which a label is enough."""

_LACKING: Final[Mapping[Awaited, str]] = {
    Awaited.SERVER: "waiting for a run: no server that leads one is heard",
    Awaited.RUN: "waiting for a server to begin a run",
    Awaited.RECORDS: "waiting for the run's records: they were announced, but cannot be fetched yet",
    Awaited.ROSTER: "waiting for the run's leader to take up manifest version {version}",
    Awaited.APP_FILES: "waiting for the run's app: its files are fetched",
    Awaited.APP: "waiting for the app process to start",
    Awaited.PAST: "waiting for {whom} to say what they have of ours: nothing is signed before",
    Awaited.WITNESSES: "waiting for {whom} to recompute the model before training on it",
    Awaited.CONTENT: "waiting for the content of a message: it was announced, but cannot be fetched yet",
}


_STANDS: Final = {
    What.PEER_HERE: "part",
    What.PEER_AWAY: "part",
    What.PEER_LEFT: "part",
    What.RUN_REFUSED: "part",
    What.JOINED: "joining",
    What.JOIN_PENDING: "joining",
    What.JOIN_REFUSED: "joining",
    What.ACK_REFUSED: "ack",
    What.CLAIM_REFUSED: "claim",
}
"""The reports on the state of a member, which may come again and again. Those with one value are about the same state:
the newest holds."""


class _LastTold:
    """The state of each member, as it was told last."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, object], tuple[What, object]] = {}

    def is_news(self, report: Report) -> bool:
        """Whether the report says something new. One that is not about a state always does."""
        if report.what not in _STANDS:
            return True
        about = _STANDS[report.what], report.fields.get("name")
        says = report.what, report.fields.get("why")
        news = self._told.get(about) != says
        self._told[about] = says
        return news


class Narrator:
    """Logs reports, and tells people."""

    def __init__(
        self, say: Callable[[str], None] | None, app_log: Path | None = None, *, whole_ids: bool = False
    ) -> None:
        """``say`` takes a line for people; None if only logs are wanted. ``app_log`` has the app's output. With
        ``whole_ids``, runs and records are named by whole CIDs in place of labels."""
        self._say = say
        self._whole_ids = whole_ids
        self._app_log = app_log
        self._last = ""
        self._last_told = _LastTold()

    def tell(self, report: Report) -> None:
        """Log the report, and tell people if it says something new."""
        logs.report(report.what.value, report.fields)
        if not self._last_told.is_news(report):
            return
        line = line_of(report, self._app_log, whole_ids=self._whole_ids)
        if self._say is not None and line and line != self._last:
            self._last = line
            self._say(line)


def line_of(report: Report, app_log: Path | None = None, *, whole_ids: bool = False) -> str:
    """The report in words; empty if it is only for the log. Names that others have given are quoted if needed. A CID
    that is no part of a command is shown by its label, unless ``whole_ids``."""
    labels = frozenset() if whole_ids else _LABELLED
    told = Report(
        report.what,
        {key: str(value)[:LABEL] if key in labels else _told(key, value) for key, value in report.fields.items()},
    )
    return _line(told, "" if app_log is None else f"; the app's log is {app_log}")


def _line(report: Report, see_log: str) -> str:
    fields = report.fields
    if (words := _WORDS.get(report.what)) is not None:
        return words(fields)
    match report.what:
        case What.TASK_FAILED | What.REPLY_FAILED | What.APP_LOST:
            return _of_an_app(report, see_log)
        case What.MESSAGE_GIVEN_UP:
            return f"no answer from {fields['name']} to {_message(fields)}: {fields['why']}"
        case What.RUN_REFUSED:
            name, why = fields.get("name"), str(fields["why"])
            return f"{name or 'this peer'} takes no part in the run: {quoted(why) if name else why}"
        case What.TASK_COLLECTED if fields["why"]:
            return f"the server gave the app an error instead of our answer: {quoted(str(fields['why']))}"
        case What.PEER_AWAY | What.PEER_LEFT:
            return _away(fields, "is away" if report.what is What.PEER_AWAY else "has left")
        case What.WAITING:
            return _LACKING[Awaited(str(fields["lacking"]))].format_map(
                {**fields, "whom": fields.get("whom") or "others"}
            )
        case What.HOME_MOVED | What.RECALLED | What.RUN_UNKNOWN:
            return _of_an_old_home(report)
    return _LINES.get(report.what, "").format_map(fields)


def _opened(fields: Fields) -> str:
    native = fields["numerics"] == Numerics.NATIVE
    cost = f"; its numerics are native: {AUDITED_HERE_ONLY}" if native else ""
    return f"run {fields['run']} is open: app {fields['app']}{cost}{_kept(fields)}{_closes(fields)}"


def _followed(fields: Fields) -> str:
    return f"taking part in run {fields['run']}: app {fields['app']}{_kept(fields)}{_closes(fields)}"


def _closes(fields: Fields) -> str:
    """What a member should know of a run that does not wait for all replies."""
    return f"; an exchange closes {fields['closing']}" if fields.get("closing") else ""


def _left_out(fields: Fields) -> str:
    """An exchange did not wait for some clients."""
    clients, whom = int(fields["clients"] or 0), str(fields["whom"])
    more = clients - len(whom.split(", "))
    who = f"{whom} and {more} more" if more > 0 else whom
    of_round = "" if fields["round"] is None else f" of round {fields['round']}"
    return f"an exchange{of_round} closed without {who}: {fields['why']}"


def _kept(fields: Fields) -> str:
    """What a member should know of a run of which not everything stays."""
    keep = str(fields.get("keep") or "")
    if not keep:
        return ""
    if DROP_UPDATES not in keep.split():
        return f"; once it is closed, of its contents stay {keep}"
    return (
        f"; its updates will not stay, even while it is open ({keep}): nobody can resume it, and no audit can replay "
        "all of it"
    )


def _answered(fields: Fields) -> str:
    of_round = "" if fields["round"] is None else f", round {fields['round']}"
    measured = f": {fields['metrics']}" if fields["metrics"] else ""
    return f"answered it after {fields['seconds']:.1f} s{of_round}{measured}"


def _closed(fields: Fields) -> str:
    if fields.get("outcome") == Outcome.STOPPED:
        why = fields.get("why")
        return f"run {fields['run']} was stopped{f': {quoted(str(why))}' if why else ''} (head {fields['head']})"
    if fields.get("outcome") != Outcome.RAISED:
        return f"run {fields['run']} is closed: head {fields['head']}"
    why = fields.get("why")
    said = f": {cause_in_words(str(why))}" if why else ""
    return f"run {fields['run']} ended with an error (head {fields['head']}){said}"


def _of_an_app(report: Report, see_log: str) -> str:
    """An error of an app. Names the log if the app runs here."""
    match report.what:
        case What.APP_LOST:
            return f"the app process was lost: {report.fields['why']}{see_log}"
        case What.TASK_FAILED:
            return _failed(report.fields) + see_log
    return _failed(report.fields)


_FAILED: Final[Mapping[int, str]] = {
    ErrorCode.LOAD_CLIENT_APP_EXCEPTION: "could not load its app for",
    ErrorCode.CLIENT_APP_CRASHED: "lost its app's process over",
}


def _failed(fields: Fields) -> str:
    """A ClientApp's error, in the same words on both sides."""
    how = _FAILED.get(int(fields["code"] or 0), "failed on")
    return f"{fields['name']} {how} {_message(fields)}: {error_in_words(str(fields['why']))}"


def _message(fields: Fields) -> str:
    of_round = "" if fields["round"] is None else f" of round {fields['round']}"
    article = "an" if str(fields["type"])[:1] in "aeiou" else "a"
    return f"{article} {fields['type']} message{of_round}"


_SHOWN: Final = 300
"""Characters shown of an error's own text. The log has all of it."""


def error_in_words(reason: str) -> str:
    """The error of an app; an exception is like ``KeyError: 'x'``."""
    raised = parse_raised(reason)
    if raised is None:
        return _cut(reason)
    return f"{named(raised.kind)}{f': {_cut(raised.text)}' if raised.text else ''}{raised.fix[:_SHOWN]}"


def cause_in_words(reason: str) -> str:
    """Why a run ended with an error: what its ServerApp raised, or another reason that the server gave."""
    return f"the ServerApp raised {error_in_words(reason)}" if parse_raised(reason) else _cut(reason)


def _cut(text: str) -> str:
    return quoted(text, _SHOWN)


def _told(key: str, value: Field) -> Field:
    if key == _WHOM and isinstance(value, str):
        return ", ".join(map(named, filter(None, value.split(", "))))
    return named(value) if key in _NAMES and isinstance(value, str) and value else value


def _away(fields: Fields, how: str) -> str:
    within = fields["answer_within"]
    owed = "" if within is None else f"; waiting for its answer, at most {within:.0f} s more"
    return f"{fields['name']} {how}{owed}"


def _of_an_old_home(report: Report) -> str:
    match report.what:
        case What.HOME_MOVED:
            return _moved(report.fields)
        case What.RUN_UNKNOWN:
            return _unknown(report.fields)
    return _recalled(report.fields)


def _unknown(fields: Fields) -> str:
    """A client was in a run that this home does not know."""
    led = "another server led it, or " if fields["other_servers"] else ""
    whose = f"unless {led}it was forgotten here (peer forget), this home"
    return (
        f"{fields['name']} was in run {fields['run']}, which this home does not know: {whose} is an older copy. "
        "This server now leads another run. To go on with that one, stop this server and restore a newer copy"
    )


def _moved(fields: Fields) -> str:
    moved = "this home is in another place than before, so it was copied, or restored from a backup"
    if not fields["waits"]:
        return f"{moved}: if its clients know more of its run than it does, it may sign something else in that place"
    return (
        f"{moved}: it signs nothing in its run before all clients have said what they know of it. "
        "If one of them never comes back: --no-wait-for-members"
    )


def _recalled(fields: Fields) -> str:
    """Members have told this home what it had forgotten."""
    older = "this home is older than what it has signed, so it was restored from a copy: "
    if "message" in fields:
        return f"{older}it takes up a reply that it gave before"
    if "ack" in fields:
        return f"{older}it had verified the run up to height {fields['height']}"
    return f"{older}it takes up its newer records from the members, up to height {fields['height']}"


def _few(fields: Fields) -> str:
    """An app waits for more clients."""
    refusing, last = fields["refusing"], fields["last"]
    but = f", {refusing} more take no part" if refusing else ""
    heard = f"; {last} was heard last, {fields['ago']:.0f} s ago" if last else ""
    if not refusing and fields["here"] == fields["clients"]:
        heard = (
            ", all of them: the app asks for more (by its strategy's min_available_nodes?); "
            "add members, or ask for fewer"
        )
    return f"the app waits for clients: {fields['here']} of the federation's {fields['clients']} are here{but}{heard}"


_WORDS: Final[Mapping[What, Callable[[Fields], str]]] = {
    What.RUN_OPENED: _opened,
    What.RUN_FOLLOWED: _followed,
    What.RUN_CLOSED: _closed,
    What.TASK_ANSWERED: _answered,
    What.APP_WAITS_FOR_CLIENTS: _few,
    What.LEFT_OUT: _left_out,
}
"""The reports whose words hang on more than one field."""
