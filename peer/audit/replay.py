"""Audit by replay: the ServerApp of a verified run is run again, and must do what is recorded.

The app process asks for the recorded replies entry by entry, and compares what it sends itself. Nothing is written to
an engine, and a CAR file needs none.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from peer.apps.app_process import AppCommand, AppProcess
from peer.history.run_sources import RunSource
from peer.history.scratch import Scratch
from peer.history.verdict import REPLAY, REPLAY_UNFINISHED, Finding
from protocol.app.calls import (
    CloseEntry,
    Compared,
    DispatchEntry,
    Diverged,
    Finished,
    FromApp,
    Halted,
    NextEntry,
    Progress,
    Ready,
    Replayed,
    ScriptEnd,
    ScriptEntry,
    Start,
)
from protocol.blocks.bundle import BundledFile
from protocol.blocks.cid import CID, Block, BlockError, BlockSource
from protocol.chain.replay_script import Unreadable, script_entry
from protocol.federation.epochs import read_seed
from protocol.federation.readers import RunKeys, read_private
from protocol.records.bodies import Role, Run, RunConfig, RunPrivate
from protocol.records.environment import Environment, differing
from protocol.records.signed import read_record
from protocol.roles.leader.run_plan import SERVER_NODE, initial_content
from strategy.apps.bundling import unpack_bundle
from strategy.contents.summary import to_json
from strategy.replay.format import REPLAY_FORMAT, child_environment

HONEST_BUT: Final = (
    "the server did not run this app on these replies, or the app does not do the same thing twice: "
    "it reads a clock, draws a uuid4, or takes results in the order in which its own threads finish"
)
"""What a difference may mean."""

STILL_OPEN: Final = "what the app made of the last replies: the run is open, and no message shows it yet"
"""What is not checked of a run that goes on."""
NO_MODEL: Final = "what the app made of the replies after its last message: the run has no final model"
"""What is not checked of a run that closed without a model."""


@dataclass(frozen=True, slots=True)
class AuditedApp:
    """An app that the auditor lets run."""

    where: str
    """Its folder or its content, in words."""
    id: CID
    files: Sequence[BundledFile]
    source: BlockSource
    """Where the files' chunks are."""
    node_config: RunConfig = ()
    """Settings of this machine, such as the folder with its data."""


@dataclass(frozen=True, slots=True)
class ComparedExchange:
    """One dispatch whose messages were compared with the recorded ones, and are equal."""

    height: int
    round: int | None
    number: int
    """Of the exchange, from 1."""
    messages: int


@dataclass(slots=True)
class Replay:
    """How a replay went."""

    exchanges: int = 0
    """How many were compared and equal."""
    messages: int = 0
    """How many messages those exchanges have."""
    divergence: Diverged | None = None
    round: int | None = None
    """The round of the divergence, if the app numbers its rounds."""
    unfinished: str = ""
    """Why there is no verdict; empty if there is one."""
    not_checked: str = ""
    """What could not be compared; empty if the run was replayed to its end."""
    app_raised: bool = False
    """Whether the replay is unfinished because the app raised."""
    environment: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """What differs between the environments: the recorded value, and the one here."""
    seconds: float = 0.0
    """How long the replay took, from the start of the app process."""
    import_seconds: float = 0.0
    """How much of that went by before the app process had done its imports."""

    def finding(self) -> Finding | None:
        """The finding that follows from the replay, if any."""
        found = self.divergence
        if self.unfinished:
            return Finding(found.height if found else None, None, REPLAY_UNFINISHED, self.unfinished)
        if found is None:
            return None
        where = "" if self.round is None else f"in round {self.round}, "
        return Finding(found.height, None, REPLAY, f"{where}{found.what}; {self._meaning()}")

    def _meaning(self) -> str:
        if not self.environment:
            return f"this environment is the recorded one, so {HONEST_BUT}"
        pairs = (f"{name} was {was!r} and is {now!r}" for name, (was, now) in self.environment.items())
        return f"it may be the environment, which differs ({', '.join(pairs)}); or {HONEST_BUT}"

    def value(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        found = None if self.unfinished else self.divergence
        return {
            "exchanges": self.exchanges,
            "messages": self.messages,
            "mismatches": 0 if found is None else 1,
            "first_divergence": None if found is None else self._divergence_value(found),
            "not_checked": self.not_checked or None,
            "environment": {name: list(pair) for name, pair in self.environment.items()},
            "seconds": round(self.seconds, 3),
            "import_seconds": round(self.import_seconds, 3),
        }

    def _divergence_value(self, found: Diverged) -> dict[str, Any]:
        return {
            "height": found.height,
            "round": self.round,
            "message": found.message,
            "record": found.record,
            "tensor": found.tensor,
            "largest": None if found.largest is None else to_json(found.largest),
            "environment": {name: list(pair) for name, pair in self.environment.items()},
        }


class RunReplay:
    """One replay of a run that an audit has verified."""

    def __init__(
        self,
        run: CID,
        scratch: Scratch,
        source: RunSource,
        app: AuditedApp,
        keys: RunKeys,
        *,
        to_round: int | None = None,
        numbered: bool = True,
        on_compared: Callable[[ComparedExchange], None] = lambda _: None,
    ) -> None:
        """``scratch`` has the audit's records and rows, ``keys`` are the run's.

        ``to_round`` is the last round to replay: one of Flower's if the app's messages are ``numbered``, otherwise an
        exchange.
        """
        self._run = run
        self._records: Iterator[CID] = islice(scratch.oldest_first(), 1, None)  # `Start` says what the run record does
        self._scratch = scratch
        self._source = source
        self._app = app
        self._keys = keys
        self._to_round = to_round
        self._numbered = numbered
        self._on_compared = on_compared
        self._dispatches = 0
        self._ahead: dict[int, tuple[int, int | None]] = {}
        """The number and round of each exchange that was handed over and is not compared yet, by height."""
        self._last_round: int | None = None
        self._has_end = False
        """Whether `Replay.not_checked` is settled, because the script was handed over up to its end."""
        self._began = 0.0
        self._replay = Replay()

    def run(self) -> Replay:
        """Replay to the end, or to the first difference."""
        self._began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="pollen-replay-") as folder:
                self._run_in(Path(folder))
        except Unreadable as error:
            self._unfinished(str(error))
        except BlockError as error:
            self._unfinished(f"what is recorded cannot be read: {error}")
        self._replay.seconds = time.monotonic() - self._began
        return self._replay

    def _run_in(self, folder: Path) -> None:
        body = read_record(self._run, self._source).body
        assert isinstance(body, Run)  # the audit has verified it
        recorded = read_private(body, RunPrivate, self._keys)
        if recorded is None:
            raise Unreadable(
                "the run is encrypted, and this identity cannot read it. An auditor can, once an admin has added its "
                "KEY (peer federation add) and the server has granted it the runs before (peer federation grant)"
            )
        if recorded.replay_format != REPLAY_FORMAT:
            self._unfinished(f"it is in replay format {recorded.replay_format}, this version has {REPLAY_FORMAT}")
            return
        seed = read_seed(Block(body.seed, self._source.get(body.seed)), self._keys)
        app = folder / "app"
        unpack_bundle(self._app.files, self._app.source, app)
        command = AppCommand(
            role=Role.SERVER,
            works_in=folder / "scratch",
            contents=self._source.contents,
            log=folder / "app.log",
            environment=child_environment(seed, recorded.environment.threads),
        )
        start = Start(
            self._run,
            SERVER_NODE,
            seed,
            recorded.config,
            self._app.node_config,
            scripted=True,
            initial_model=initial_content(body, self._keys),
            key=self._keys.content(body.epoch),
        )
        asyncio.run(self._drive(command, app, start, recorded.environment))

    async def _drive(self, command: AppCommand, app: Path, start: Start, environment: Environment) -> None:
        said: asyncio.Queue[FromApp | str] = asyncio.Queue()
        link = AppProcess(command, said.put_nowait, said.put_nowait)
        await link.start(app)
        try:
            is_over = False
            while not is_over:
                match await said.get():
                    case Ready(environment=now):
                        self._replay.import_seconds = time.monotonic() - self._began
                        self._replay.environment = differing(environment, now)
                        link.hand(start)
                    case NextEntry(call):
                        link.hand(self._next_entry(call))
                    case value:
                        is_over = self._take(value)
        finally:
            await link.stop()

    def _take(self, value: FromApp | str) -> bool:
        """Take in what the app process said, or why it ended. Returns whether the replay is over."""
        match value:
            case Compared():
                self._compared(value)
                return False
            case Progress():
                return False
            case Diverged():
                self._diverged(value)
            case Finished() | Replayed():
                pass
            case Halted(why):
                self._unfinished(f"the app process had to stop: {why}")
            case str(why):
                self._unfinished(f"the app process was lost: {why}")
            case _:
                self._unfinished(f"the app process said a {type(value).__name__}")
        return True

    def _compared(self, value: Compared) -> None:
        number, round_number = self._ahead.pop(value.height)
        self._replay.exchanges += 1
        self._replay.messages += value.messages
        self._on_compared(ComparedExchange(value.height, round_number, number, value.messages))

    def _diverged(self, value: Diverged) -> None:
        self._replay.divergence = value
        _, self._replay.round = self._ahead.get(value.height, (None, self._last_round))
        if value.raised:
            self._replay.app_raised = True
            self._unfinished(f"{value.what}: nobody can tell if it would have done what is recorded")

    def _unfinished(self, why: str) -> None:
        self._replay.unfinished = why

    # -- the script -------------------------------------------------------------------------------------------------

    def _next_entry(self, call: int) -> ScriptEntry:
        cid = next(self._records, None)
        if cid is None:
            if not self._has_end:
                self._replay.not_checked = STILL_OPEN
            return ScriptEnd(call, live=False)
        entry = script_entry(read_record(cid, self._source), self._keys, self._source, call)
        if isinstance(entry, CloseEntry):
            self._has_end = True
            self._replay.not_checked = NO_MODEL if entry.model is None else ""
        if isinstance(entry, DispatchEntry):
            self._dispatches += 1
            round_number = self._round_of(self._dispatches)
            if self._is_beyond(round_number):
                self._records = iter(())
                self._has_end = True
                self._replay.not_checked = (
                    f"height {entry.head.height} and all that follows: --to-round {self._to_round} stops before the "
                    "message that shows what the app made of the last replies"
                )
                return ScriptEnd(call, live=False)
            self._last_round = self._last_round if round_number is None else round_number
            self._ahead[entry.head.height] = (self._dispatches, round_number)
        return entry

    def _round_of(self, number: int) -> int | None:
        """Flower's round of an exchange, as the audit noted it."""
        row = self._scratch.row(number)
        found = json.loads(row)["round"] if row else None
        return found if isinstance(found, int) else None

    def _is_beyond(self, round_number: int | None) -> bool:
        if self._to_round is None:
            return False
        reached = round_number if self._numbered else self._dispatches
        return reached is not None and reached > self._to_round
