"""Running a ClientApp in the app process."""

from __future__ import annotations

import gc
import hashlib
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flwr.app import Context, Error, Message, Metadata, RecordDict
from flwr.clientapp import ClientApp

from protocol.app.calls import Answered, ErrorCode, Start, Task
from protocol.blocks.cid import CID
from protocol.blocks.content import ContentError, ContentKey
from protocol.blocks.root_hints import MAX_REPLY_ROOT
from strategy.apps.config import read_app
from strategy.contents.codec import DEFAULT_LIMITS, ContentStore, ContentWriter, Encoded, Limits, decode
from strategy.contents.remembered_arrays import RememberedArrays
from strategy.contents.summary import measures_of, round_of
from strategy.flower_compat import (
    SUPERLINK_NODE_ID,
    load_app,
    log,
    received_message,
    run_number,
    take_identity,
    timestamp,
)
from strategy.grid_answers import RunStopped
from strategy.hosting.app_error_fixes import fix_for
from strategy.hosting.host import MAX_REASON, GuardedStore, describe, out_of_sight, text_of, working_in
from strategy.hosting.seeds import seed_generators


def serve_client_app(
    app_dir: Path,
    start: Start,
    store: ContentStore,
    tasks: Iterable[Task],
    works_in: Path,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Answered]:
    """Answer each task with the ClientApp of an app's folder, in order, until ``tasks`` ends. `prepare` comes first.

    The app's working directory is ``works_in``, because apps open ``./data`` (with ``flower-supernode``, where that was
    started). Contents and states are stored before the answer that names them is given. An app that cannot be imported
    answers every task with Flower's error for that.

    Raises:
        RunStopped: if the engine is gone.
    """
    remembered = RememberedArrays(works_in.absolute())
    with out_of_sight(), working_in(works_in):
        host = ClientHost(app_dir, start, store, limits, remembered)
        gc.freeze()  # what the app has imported stays, and is not gone through each time
        for task in tasks:
            yield host.answer(task)
            gc.collect()  # Flower's records are in cycles once they were read, and a reply would stay in memory


class _AnswerError(Exception):
    """An answer that is an error: Flower's ``code``, and the reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ClientHost:
    """One ClientApp, imported before the first task."""

    def __init__(
        self,
        app_dir: Path,
        start: Start,
        store: ContentStore,
        limits: Limits = DEFAULT_LIMITS,
        remembered: RememberedArrays | None = None,
    ) -> None:
        self._app_dir = app_dir
        self._start = start
        self._number = run_number(start.run)
        self._store = GuardedStore(store)
        self._writer = ContentWriter(self._store)
        self._limits = limits
        self._remembered = remembered
        take_identity(self._number, start.node)
        seed_generators(start.seed)
        self._app = self._import()

    def answer(self, task: Task) -> Answered:
        """The answer to one task; contents are stored by then. Raises RunStopped if the engine is gone."""
        # after the import, which may draw numbers: so the first message after a restart has the same ones
        seed_generators(hashlib.sha256(self._start.seed + task.message).digest())
        state, number = task.state, None
        try:
            message, context = self._message(task), self._context(task)
            number = round_of(message.content, task.group)  # before the app may change it
            reply = self._run(message, context)
            self._store.check()
            # even if the app raised, because Flower keeps what it did to its state before
            state = self._write_state(context.state, task)
            if isinstance(reply, _AnswerError):
                raise reply
            if reply.has_error():
                raise _own_error(reply.error)
            written, created = self._write_content(reply.content, task.reply_key), _time(reply)
        except _AnswerError as error:
            reason = _text(error.reason)
            return Answered(task.message, timestamp(), state=state, code=error.code, reason=reason, round=number)
        metrics = measures_of(reply.content)
        root = written.root_block.data if written.is_one_block else b""
        return Answered(
            task.message,
            created,
            content=written.root,
            state=state,
            round=number,
            metrics=metrics,
            root=root if len(root) <= MAX_REPLY_ROOT else b"",
        )

    def _run(self, message: Message, context: Context) -> Message | _AnswerError:
        if isinstance(self._app, _AnswerError):
            return _AnswerError(self._app.code, self._app.reason)
        try:
            reply: object = self._app(message, context)
        except RunStopped:
            raise
        except BaseException as raised:  # noqa: BLE001  # whatever the app raises is its own, a KeyboardInterrupt too
            log(logging.ERROR, "The ClientApp raised an exception", exc_info=raised)
            return _AnswerError(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, self._described(raised))
        if not isinstance(reply, Message) or not (reply.has_content() or reply.has_error()):
            return _AnswerError(
                ErrorCode.CLIENT_APP_RAISED_EXCEPTION,
                f"the ClientApp returned a {type(reply).__name__}, not a message with content",
            )
        return reply

    def _import(self) -> ClientApp | _AnswerError:
        try:
            reference = read_app(self._app_dir).client
            app = load_app(reference, ImportError, self._app_dir)
        except BaseException as raised:  # noqa: BLE001  # whatever importing the app raises is its own
            log(logging.ERROR, "The ClientApp could not be loaded", exc_info=raised)
            return _AnswerError(ErrorCode.LOAD_CLIENT_APP_EXCEPTION, self._described(raised))
        if isinstance(app, ClientApp):
            return app
        return _AnswerError(
            ErrorCode.LOAD_CLIENT_APP_EXCEPTION, f"{reference} is a {type(app).__name__}, not a ClientApp"
        )

    def _described(self, error: BaseException) -> str:
        return describe(error, fix_for(error, dict(self._start.node_config)))

    def _message(self, task: Task) -> Message:
        metadata = Metadata(
            run_id=self._number,
            message_id=task.message.hex(),
            src_node_id=SUPERLINK_NODE_ID,
            dst_node_id=self._start.node,
            reply_to_message_id="",
            group_id=task.group,
            created_at=task.created,
            ttl=task.ttl,
            message_type=task.type,
            src_task_id=1,
        )
        records = self._read(task.content, task.key)
        if self._remembered is not None:
            self._remembered.look_up(records, task.key, task.type)
        return received_message(metadata, records)

    def _context(self, task: Task) -> Context:
        return Context(
            run_id=self._number,
            node_id=self._start.node,
            node_config=dict(self._start.node_config),
            state=RecordDict() if task.state is None else self._read_state(task.state, task),
            run_config=dict(self._start.run_config),
        )

    def _read_state(self, state: CID, task: Task) -> RecordDict:
        if task.earlier_state_key is not None:
            with suppress(ContentError):  # most are written with today's key
                return decode(state, self._store.open(state), task.earlier_state_key, self._limits)
        return self._read(state, task.state_key)

    def _read(self, root: CID, key: ContentKey | None) -> RecordDict:
        try:
            return decode(root, self._store.open(root), key, self._limits)
        except ContentError as error:
            raise _AnswerError(ErrorCode.MESSAGE_UNAVAILABLE, f"cannot be read: {error}") from error

    def _write_content(self, records: RecordDict, key: ContentKey | None) -> Encoded:
        with _as_error_of_the_apps():
            return self._writer.store(records, key)

    def _write_state(self, records: RecordDict, task: Task) -> CID | None:
        if task.state is None and not records:
            return None  # most apps keep no state, and a write waits for the disk
        with _as_error_of_the_apps():
            return self._writer.write_whole(records, task.state_key, held=task.state)


@contextmanager
def _as_error_of_the_apps() -> Iterator[None]:
    """Turn a failure to encode records into an app's error: they hold what Flower does not take, or too much."""
    try:
        yield
    except Exception as error:  # a store that fails raises RunStopped, which is no Exception
        raise _AnswerError(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, describe(error)) from error


def _time(reply: Message) -> float:
    try:
        created = float(reply.metadata.created_at)
    except (TypeError, ValueError, OverflowError):
        created = math.nan
    if not math.isfinite(created):
        raise _AnswerError(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, f"the reply was created at {created}")
    return created


def _own_error(error: Error) -> _AnswerError:
    """An error that the app itself answers, with any code that fits into a reply record."""
    if type(error.code) is int and 0 <= error.code < 2**63:
        return _AnswerError(error.code, text_of(error.reason or ""))
    why = f"{text_of(error.code)[:100]} is no error code: {text_of(error.reason)}"
    return _AnswerError(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, why)


def _text(reason: str) -> str:
    return reason[:MAX_REASON].encode("utf-8", "replace").decode()
