"""What a running peer tells people: a line for each report worth one; all of them go to the log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from peer.base import logs
from peer.base.logs import Field
from protocol.app.calls import ErrorCode
from protocol.app.errors import parse_raised
from protocol.records.bodies import Outcome
from protocol.records.environment import Numerics
from protocol.roles.effects import Report, What
from protocol.roles.waiting import Awaited
from protocol.visible import named, quoted

Fields = Mapping[str, Field]

AUDITED_HERE_ONLY: Final = "a replay on a processor of another kind may differ in the last bits, and then tells nothing"
"""What native numerics cost."""

_LINES: Final[Mapping[What, str]] = {
    What.RUN_RESUMED: "run {run} was left open at height {height}: going on with it",
    What.RUN_FOLLOWED: "taking part in run {run}: app {app}",
    What.RUN_LOST: "run {run} cannot be followed: {why}",
    What.PEER_HERE: "{name} is here",
    What.APP_BUNDLED: "the app {name} is {files} files of {bytes} bytes, as Flower bundles them{others}: {whose}",
    What.APP_FILES_STAY: "{count} files of the app's folder stay here, as with Flower (of .py, .toml, .md, .yaml, "
    ".yml, .json, .jsonl and LICENSE it takes what .gitignore, fab-include and fab-exclude leave): {some}; "
    "what of them the app opens has to be on each machine",
    What.BUILT_IN_APP_UNFIT: "no part is taken in runs of the built-in app: {why}",
    What.WAITING_FOR_CLIENTS: "waiting for clients: {here} of {needed} are here",
    What.REPLY_REFUSED: "a reply of {name} is not taken: {why}",
    What.ALL_REFUSED: "all replies were refused by one check ({check}); "
    "if the app means it so, {option} can leave it out: see `peer start --help`",
    What.BOUND_UNUSED: "--max-update-norm {bound} bounds nothing here: {why}",
    What.ACK_REFUSED: "what {name} says it has verified is not kept: {why}",
    What.DISPATCHED: "messages out: {messages} (height {height})",
    What.COLLECTED: "replies in: {replies}, of which errors: {errors} (height {height})",
    What.TASK_STARTED: "working on a message: {type}",
    What.TASK_ANSWERED: "answered it",
    What.APP_UNAPPROVED: (
        "run {run} waits for your approval of its app {name}; read it with `peer app show {app}`, "
        "let it run here with `peer app approve {app}`"
    ),
    What.APP_PROGRESS: "{text}",
    What.APP_LACKS: (
        "the app says that it needs what is not here: {lacks}; install it where this peer runs: "
        f"{sys.executable} -m pip install ..."
    ),
    What.JOINED: "{name} has joined with its ticket: manifest version {version}",
    What.JOIN_PENDING: "{name} wants to join with its ticket; let it in with: peer federation approve {name}",
    What.JOIN_REFUSED: "a ticket for {name} was tried and refused: {why}",
    What.EQUIVOCATION: "{name} has signed two different records at one place and is not followed any more: "
    "peer audit {proof} shows both",
    What.PUBSUB_REFUSED: "nobody hears this peer by pubsub: {why}; fix: {fix}",
    What.PUBSUB_UNHEARD: "the node {node} does not hear this one by pubsub, as if a clock had been set back: the run "
    "goes on by asking, more slowly; fix, on that node's machine: {fix}",
    What.PUBSUB_NOT_HEARING: "the node {node} is not heard by pubsub, as if a clock had been set back: the run goes "
    "on by asking, more slowly; fix, where this peer's node is: {fix}",
    What.ASKING_OFF: "{why}: what pubsub loses for long is lost; fix: {fix}",
    What.MANIFEST_IN_FORCE: "manifest version {version} is in force",
}


_NAMES: Final = {"name", "app", "type", "last", "whom"}
"""The fields that hold what others call something."""

_LACKING: Final[Mapping[Awaited, str]] = {
    Awaited.SERVER: "waiting for a server: none is heard",
    Awaited.RUN: "waiting for a server to begin a run",
    Awaited.RECORDS: "waiting for the run's records: they were announced, and cannot be had yet",
    Awaited.ROSTER: "waiting for the run's leader to take up manifest version {version}",
    Awaited.APP_FILES: "waiting for the run's app: its files are fetched",
    Awaited.APP: "waiting for the app process to start",
    Awaited.PAST: "waiting for {whom} to say what they have of ours: nothing is signed before",
    Awaited.CONTENT: "waiting for what a message holds: it was announced, and cannot be had yet",
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
}
"""The reports that say how it stands with somebody, who may say so again and again; those with one value are about one
thing: each ends what the others say."""


class _LastTold:
    """How it stands with each, as it was told last."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, object], tuple[What, object]] = {}

    def is_news(self, report: Report) -> bool:
        """Whether the report says something else of somebody than the last one did; always if it tells of an
        event."""
        if report.what not in _STANDS:
            return True
        about = _STANDS[report.what], report.fields.get("name")
        says = report.what, report.fields.get("why")
        news = self._told.get(about) != says
        self._told[about] = says
        return news


class Narrator:
    """Tells reports as they come."""

    def __init__(self, say: Callable[[str], None] | None, app_log: Path | None = None) -> None:
        """``say`` takes a line for a person, None where logs alone are wanted; ``app_log`` has what the app prints."""
        self._say = say
        self._app_log = app_log
        self._last = ""
        self._last_told = _LastTold()

    def tell(self, report: Report) -> None:
        """Log the report, and say it where it is news."""
        logs.report(report.what.value, report.fields)
        if not self._last_told.is_news(report):
            return
        line = line_of(report, self._app_log)
        if self._say is not None and line and line != self._last:
            self._last = line
            self._say(line)


def line_of(report: Report, app_log: Path | None = None) -> str:
    """The report in words; empty if it is for logs alone. Names are other people's, and can be told from ours."""
    told = Report(report.what, {key: _told(key, value) for key, value in report.fields.items()})
    return _line(told, "" if app_log is None else f"; the app's log is {app_log}")


def _line(report: Report, see_log: str) -> str:
    fields = report.fields
    match report.what:
        case What.RUN_OPENED | What.RUN_CLOSED:
            return _opened(fields) if report.what is What.RUN_OPENED else _closed(fields)
        case What.TASK_FAILED | What.REPLY_FAILED | What.APP_LOST:
            return _of_an_app(report, see_log)
        case What.MESSAGE_GIVEN_UP:
            return f"no answer of {fields['name']} to {_message(fields)}: {fields['why']}"
        case What.RUN_REFUSED:
            name, why = fields.get("name"), str(fields["why"])
            return f"{name or 'this peer'} takes no part in the run: {quoted(why) if name else why}"
        case What.TASK_COLLECTED if fields["why"]:
            return f"the server gave the app an error instead of our answer: {quoted(str(fields['why']))}"
        case What.PEER_AWAY | What.PEER_LEFT:
            return _away(fields, "is away" if report.what is What.PEER_AWAY else "has left")
        case What.APP_WAITS_FOR_CLIENTS:
            return _few(fields)
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
    return f"run {fields['run']} is open: app {fields['app']}{cost}"


def _closed(fields: Fields) -> str:
    if fields.get("outcome") != Outcome.RAISED:
        return f"run {fields['run']} is closed: head {fields['head']}"
    why = fields.get("why")
    said = f": {cause_in_words(str(why))}" if why else ""
    return f"run {fields['run']} ended with an error (head {fields['head']}){said}"


def _of_an_app(report: Report, see_log: str) -> str:
    """What went wrong in an app; the log is here where the app is."""
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
    """A ClientApp's error, as both sides are told it."""
    how = _FAILED.get(int(fields["code"] or 0), "failed on")
    return f"{fields['name']} {how} {_message(fields)}: {error_in_words(str(fields['why']))}"


def _message(fields: Fields) -> str:
    of_round = "" if fields["round"] is None else f" of round {fields['round']}"
    return f"a {fields['type']} message{of_round}"


_SHOWN: Final = 300
"""Characters of an error's own text in a line; the log has all."""


def error_in_words(reason: str) -> str:
    """The error of an app, ``KeyError: 'x'`` for an exception."""
    raised = parse_raised(reason)
    if raised is None:
        return _cut(reason)
    return f"{named(raised.kind)}{f': {_cut(raised.text)}' if raised.text else ''}{raised.fix[:_SHOWN]}"


def cause_in_words(reason: str) -> str:
    """Why a run ended with an error: what its ServerApp raised, or what else a server says of it."""
    return f"the ServerApp raised {error_in_words(reason)}" if parse_raised(reason) else _cut(reason)


def _cut(text: str) -> str:
    return quoted(text, _SHOWN)


def _told(key: str, value: Field) -> Field:
    return named(value) if key in _NAMES and isinstance(value, str) and value else value


def _away(fields: Fields, how: str) -> str:
    within = fields["answer_within"]
    owed = "" if within is None else f"; its answer is waited for, {within:.0f} s more at most"
    return f"{fields['name']} {how}{owed}"


def _of_an_old_home(report: Report) -> str:
    match report.what:
        case What.HOME_MOVED:
            return _moved(report.fields)
        case What.RUN_UNKNOWN:
            return _unknown(report.fields)
    return _recalled(report.fields)


def _unknown(fields: Fields) -> str:
    """A client that was in a run of which this home knows nothing."""
    whose = "if another server did not lead it, this home" if fields["other_servers"] else "this home"
    return (
        f"{fields['name']} was in run {fields['run']}, which this home does not know: {whose} is a copy of before that "
        "run began. What is led here now is another run; to go on with that one, stop this, and put back a newer copy"
    )


def _moved(fields: Fields) -> str:
    moved = "this home is in another place than it was, as one is that was copied, or put back from a backup"
    if not fields["waits"]:
        return f"{moved}: what its clients know of its run that it has forgotten may be signed anew"
    return (
        f"{moved}: nothing of its run is signed before all its clients have said what they know of it. "
        "If one of them never comes again: --no-wait-for-members"
    )


def _recalled(fields: Fields) -> str:
    """What this home had forgotten, and others had not."""
    older = "this home is older than what it signed, as one is that was restored from a copy: "
    if "message" in fields:
        return f"{older}an answer that it gave before is taken up, and stands"
    if "ack" in fields:
        return f"{older}it had confirmed the run up to height {fields['height']}"
    return f"{older}its newer records are taken up from the members, up to height {fields['height']}"


def _few(fields: Fields) -> str:
    """What an app has that waits for more clients."""
    refusing, last = fields["refusing"], fields["last"]
    but = f", {refusing} more take no part" if refusing else ""
    heard = f"; {last} was heard last, {fields['ago']:.0f} s ago" if last else ""
    if not refusing and fields["here"] == fields["clients"]:
        heard = (
            ", all of them: the app asks for more (its strategy's min_available_nodes?); add members, or ask for fewer"
        )
    return f"the app waits for clients: {fields['here']} of the federation's {fields['clients']} are here{but}{heard}"
