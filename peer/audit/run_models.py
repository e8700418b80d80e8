"""The models of a run: which contents are the global model, or a client's update, of a round.

They are found by CID in a chain that a `peer.audit.audit.Audit` has verified; nothing is computed again. If the app
numbers its rounds in any message (``config["server-round"]``, or the group id in older apps), those are the rounds.
If it does not, each exchange is a round, from 1.

- The **global model** of round N is the arrays content of the first dispatch after the last train collect of round N.
  If there is none, it is the close record's model. Round 0 has the initial model: the first dispatch with arrays.
  Dispatches without arrays are passed over. If a dispatch sends several contents with arrays, the first counts.
- A client's **update** of round N is its reply content with arrays in an exchange of round N. If its app answers more
  than once (as the stages of a workflow do), the last counts.

In an encrypted run a client reads the global models that it was sent: those of the epochs in which it was a member.
Only servers and auditors read updates. Not even a client has the key of its own, once its process has ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crypto.errors import CryptoError
from crypto.keys import VerifyKey
from peer.audit.audit import Audit
from peer.audit.report import Report, require_verified
from peer.base.errors import ExitCode, PeerError
from peer.history.scratch import Scratch
from protocol.attestations.audit_predicate import SERVER as SERVER  # exported here too, beside what it names
from protocol.blocks.cid import CID
from protocol.blocks.content import ContentKey
from protocol.federation.manifest import node_id
from protocol.federation.run_keys import RunKeys
from protocol.records.bodies import Body, Close, Collect, Dispatch, GridError, Group, Reply
from protocol.records.signed_records import answers, read_record, typed_items
from strategy.contents.summary import summarise

TRAIN: Final = "train"
"""Flower's message type, or the part of it before the dot."""

_Found = tuple[CID, ContentKey | None]
"""A content, and the key that it is encrypted with."""


class NoSuchModel(PeerError):
    """The run has no such model: no such round, no such client, or no arrays there."""


class NotReadable(PeerError):
    """The model is encrypted, and this home has no key for it."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A content of a run, and what it is there."""

    content: CID
    key: ContentKey | None
    """The key that it is encrypted with."""
    run: CID
    head: CID
    round: int | None
    """None for the final model."""
    of: str
    """`SERVER`, or the client's name; its did, if that is its name."""

    def metadata(self) -> dict[str, str]:
        """What a file of it says about itself, besides the content's CID. It is the same whenever the file is written,
        so the head, which grows, is not in it: `peer trace` writes the file again, and compares."""
        where = {} if self.round is None else {"round": str(self.round), "of": self.of}
        return {"run": str(self.run), **where}

    def value(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        return {"content": str(self.content), "round": self.round, "of": self.of}


class RunModels:
    """The models of one run, from what its audit noted. Memory does not grow with the length of the chain."""

    def __init__(self, audit: Audit, scratch: Scratch) -> None:
        """Runs ``audit``.

        Raises:
            PeerError: if the audit does not verify the run, with the exit code of its verdict; or if this reader can
                read nothing of the run.
        """
        report = audit.run()
        require_verified(report)
        _require_readable(report, audit.keys)
        assert report.run is not None  # it is verified
        self._run, self._report, self._scratch, self._source = report.run, report, scratch, audit.source
        self._keys = audit.keys
        self._numbered = any(row["round"] is not None for row in self._rows())

    def find(self, of: str = SERVER, round_number: int | None = None) -> FoundModel:
        """The global model of a round, or the update of the client ``of`` (its name or did).

        Without a ``round_number``, it is the last round in which something was trained: an app that does not number its
        rounds may end with exchanges in which nothing was.

        Raises:
            PeerError: if the run has no such round or member, or nothing with arrays there.
            NotReadable: if this home has no key for it.
            protocol.blocks.cid.BlockError: if a content cannot be read.
        """
        last = self._last_round()
        number = max(self._trained_rounds(), default=last) if round_number is None else round_number
        if not 0 <= number <= last:
            raise NoSuchModel(
                f"the run has no round {number}: its rounds are 0, the initial model, to {last}",
                fix=f"peer history {self._report.head} shows them",
            )
        return self._found(self._global(number), number, SERVER) if of == SERVER else self._update(of, number)

    def newest(self) -> FoundModel:
        """The newest global model: that of the last round that has one. The run may be in the middle of the next.

        Raises:
            PeerError: if no model is recorded at all.
            protocol.blocks.cid.BlockError: if a content cannot be read.
        """
        last = max(self._after(self._trained()), default=0)
        return self.find(round_number=last)

    def best(self) -> FoundModel:
        """The best global model, by the metric that the run names. Its round is the one of which it is the outcome, if
        the app trained in a round before; 0 if it is the initial model.

        Raises:
            PeerError: if the run names no metric, or no exchange has it.
            NotReadable: if this home has no key for it.
            protocol.blocks.cid.BlockError: if a content cannot be read.
        """
        best = self._report.best
        if best is None:
            raise NoSuchModel(
                "no model of this run is marked as the best",
                fix="a run marks one if it is begun with --best METRIC, and clients answer with that metric",
            )
        height = next(row["height"] for row in self._rows() if row["number"] == best.exchange)
        body = next(each for each in self._bodies() if isinstance(each, Dispatch) and each.height == height)
        found = self._arrays_of(body)
        if found is None:
            raise NoSuchModel(f"what was sent in exchange {best.exchange} has no arrays", code=ExitCode.UNFINISHED)
        before = (row for row in self._rows() if _is_train(row) and row["height"] < height)
        return self._found(found, max((self._round(row) or 0 for row in before), default=0), SERVER)

    def rounds(self) -> list[int]:
        """The rounds that have a global model: 0, and those in which something was trained, if it was sent since."""
        has_first = self._first_dispatched() is not None
        return [*([0] if has_first else []), *sorted(self._after(self._trained()))]

    def every(self) -> Iterator[FoundModel | NotReadable]:
        """Each global model, by round, and then all arrays that clients gave; in place of one that this reader cannot
        read, why not."""
        try:
            if (first := self._first_dispatched()) is not None:
                yield self._found(first, 0, SERVER)
        except NotReadable as error:
            yield error
        for number, found in sorted(self._after(self._trained()).items(), key=lambda pair: pair[0]):
            yield found if isinstance(found, NotReadable) else self._found(found, number, SERVER)
        for row in self._rows():
            if (of_round := self._round(row)) is not None:
                for answer in row["answers"]:
                    try:
                        if answer["content"] and (given := self._given(answer, of_round)) is not None:
                            yield given
                    except NotReadable as error:
                        yield error

    def final(self) -> FoundModel | NotReadable | None:
        """The final model, if the run has one; or why this reader cannot read it."""
        last = self._body(self._report.head)
        found = self._readable_arrays(last) if isinstance(last, Close) else None
        return self._found(found, None, SERVER) if isinstance(found, tuple) else found

    def _last_round(self) -> int:
        return max((each for row in self._rows() if (each := self._round(row)) is not None), default=0)

    def _trained_rounds(self) -> set[int]:
        """The rounds, from 1, in which something was trained."""
        return {number for row in self._rows() if _is_train(row) and (number := self._round(row))}

    def _found(self, found: _Found, number: int | None, of: str) -> FoundModel:
        content, key = found
        return FoundModel(content, key, self._run, self._report.head, number, of)

    # -- the global model ------------------------------------------------------------------------------------------

    def _global(self, number: int) -> _Found:
        trained = self._trained_in(number)
        if number and not trained:
            raise NoSuchModel(
                f"nothing was trained in round {number}",
                fix=f"peer history {self._report.head} shows which messages are of type train",
            )
        found = self._after(dict.fromkeys(trained, number)).get(number) if number else self._first_dispatched()
        if isinstance(found, NotReadable):
            raise found
        if found is None:
            before = max((each for each in self._trained_rounds() if each < number), default=0)
            raise NoSuchModel(
                f"no model of round {number} is recorded: {self._why_none()}",
                fix=f"--round {before} has the model before it" if number else "",
                code=ExitCode.UNFINISHED,
            )
        return found

    def _trained_in(self, number: int) -> set[int]:
        """The heights of a round's dispatches of type train."""
        return {row["height"] for row in self._rows() if self._round(row) == number and _is_train(row)}

    def _trained(self) -> dict[int, int]:
        """The round of each dispatch of type train, by height."""
        return {row["height"]: number for row in self._rows() if _is_train(row) and (number := self._round(row))}

    def _after(self, trained: Mapping[int, int]) -> dict[int, _Found | NotReadable]:
        """For each round, the first arrays dispatched after the last collect of its training; why not, if they are for
        other readers. ``trained`` says of which round the dispatch at a height is. The chain is read once."""
        waiting: dict[bytes, int] = {}
        found: dict[int, _Found | NotReadable] = {}
        collected: set[int] = set()
        """Rounds for which the next arrays count."""
        for body in self._bodies():
            match body:
                case Dispatch() | Close() if collected and (model := self._readable_arrays(body)) is not None:
                    found |= dict.fromkeys(collected, model)
                    collected.clear()
                case Collect() if waiting:
                    again = {waiting.pop(message) for message in self._answered(body) & waiting.keys()}
                    collected |= again
                    found = {number: model for number, model in found.items() if number not in again}
                case _:
                    pass
            if isinstance(body, Dispatch) and body.height in trained:
                waiting |= dict.fromkeys(self._messages(body), trained[body.height])
        return found

    def _readable_arrays(self, body: Dispatch | Close) -> _Found | NotReadable | None:
        try:
            return self._arrays_of(body)
        except NotReadable as error:
            return error

    def _first_dispatched(self) -> _Found | None:
        dispatched = (self._arrays_of(body) for body in self._bodies() if isinstance(body, Dispatch))
        return next((found for found in dispatched if found is not None), None)

    def _why_none(self) -> str:
        if not self._report.closed:
            return "the run goes on, and the server has sent no model since"
        return "the app sent no model after it, and left no final model"

    def _bodies(self) -> Iterator[Body]:
        for cid in self._scratch.oldest_first():
            yield self._body(cid)

    def _body(self, cid: CID) -> Body:
        return read_record(cid, self._source).body

    def _messages(self, body: Dispatch) -> set[bytes]:
        return {key for group in typed_items(body.groups, Group, self._source) for key, _ in group.to}

    def _answered(self, body: Collect) -> set[bytes]:
        """The ids of the messages that a collect answers."""
        found = set()
        for answer in answers(body, self._source):
            reply = answer if isinstance(answer, GridError) else self._body(answer.reply)
            assert isinstance(reply, GridError | Reply)  # the chain is verified
            found.add(reply.message)
        return found

    def _arrays_of(self, body: Dispatch | Close) -> _Found | None:
        """The first content of a dispatch that has arrays, or the final model."""
        for content in self._contents(body):
            key = self._key(body)
            if self._has_arrays(content, key):
                return content, key
        return None

    def _contents(self, body: Dispatch | Close) -> Iterator[CID]:
        if isinstance(body, Dispatch):
            yield from (group.content for group in typed_items(body.groups, Group, self._source))
        elif body.model is not None:
            yield body.model

    def _key(self, body: Dispatch | Close) -> ContentKey | None:
        """The key of the contents in a record of the server's; None if they are plain."""
        key = self._keys.content(body.epoch)
        if body.epoch is not None and key is None:
            raise _not_for_us(
                f"what the server sent at height {body.height} is encrypted under the key of epoch {body.epoch}",
                f"try --round N with an earlier round; or {_WHO_READS}",
            )
        return key

    def _has_arrays(self, content: CID, key: ContentKey | None) -> bool:
        return bool(summarise(content, self._source, key).arrays)

    # -- updates ---------------------------------------------------------------------------------------------------

    def _update(self, of: str, number: int) -> FoundModel:
        rows = [row for row in self._rows() if self._round(row) == number]
        name = self._name(of)
        given = [answer for row in rows for answer in row["answers"] if answer["name"] == name]
        for answer in reversed([answer for answer in given if answer["content"]]):
            if (found := self._given(answer, number)) is not None:
                return found
        raise NoSuchModel(
            f"{name} gave no update in round {number}: {_why_no_update(name, rows, given)}",
            fix=f"peer history {self._report.head} shows who answered in which round",
            code=ExitCode.UNFINISHED if any(name in row["participants"] for row in rows) else ExitCode.WRONG_USE,
        )

    def _given(self, answer: dict[str, Any], number: int) -> FoundModel | None:
        """The update in an answer, if it has arrays; raises NotReadable if it is for other readers."""
        reply = self._body(CID.parse(answer["reply"]))
        assert isinstance(reply, Reply)  # the chain is verified
        content, key = CID.parse(answer["content"]), self._keys.reply_content(reply)
        if reply.epoch is not None and key is None:
            raise _not_for_us(
                f"what {answer['name']} answered in round {number} is encrypted for servers and auditors "
                "(no client keeps the key of its own updates)",
                f"leave out --of {answer['name']} for the global model; or {_WHO_READS}",
            )
        if not self._has_arrays(content, key):
            return None
        name = VerifyKey(reply.by).did if answer["name"] == SERVER else answer["name"]  # a client may be called so
        return self._found((content, key), number, name)

    def _name(self, of: str) -> str:
        """The name of the participant whose name or did is ``of``."""
        if of in self._report.participants:
            return of
        try:
            node = node_id(VerifyKey.from_did(of).raw)
        except CryptoError:
            node = None
        for row in self._rows():
            for answer in row["answers"]:
                if answer["node"] == node:
                    return str(answer["name"])
        known = ", ".join(sorted(self._report.participants)) or "nobody"
        raise NoSuchModel(
            f"no participant of this run is called {of!r}", fix=f"say --of {SERVER}, or one of those it asked: {known}"
        )

    # -- rows ------------------------------------------------------------------------------------------------------

    def _rows(self) -> Iterator[dict[str, Any]]:
        """The exchanges, as `peer.history.rounds.exchange_value` gives them."""
        return map(json.loads, self._scratch.rows())

    def _round(self, row: dict[str, Any]) -> int | None:
        found: int | None = row["round"] if self._numbered else row["number"]
        return found


def _is_train(row: dict[str, Any]) -> bool:
    return any(kind.partition(".")[0] == TRAIN for kind in row["types"])


def _why_no_update(name: str, rows: Sequence[dict[str, Any]], given: Sequence[dict[str, Any]]) -> str:
    if not any(name in row["participants"] for row in rows):
        return "it was not asked for anything"
    for answer in given:
        if answer["code"] is not None:
            return f"{answer['reason'] or 'no reason given'} (Flower error {answer['code']})"
    return "what it answered has no arrays" if given else "it has not answered"


def _require_readable(report: Report, keys: RunKeys) -> None:
    if keys.epochs and all(epoch.model is None for epoch in keys.epochs):
        if report.shredded:
            raise NotReadable(report.shredded, fix="", code=ExitCode.UNFINISHED)
        raise _not_for_us(f"the run {report.run} is encrypted", _WHO_READS)


_WHO_READS: Final = (
    "name another identity with --identity NAME: a server or an auditor reads all, a client the global models of its "
    "time as a member; an auditor that joined later needs a grant: peer federation grant NAME, on the server's machine"
)


def _not_for_us(what: str, fix: str) -> NotReadable:
    return NotReadable(f"{what}, and this home has no key for it", fix=fix, code=ExitCode.UNFINISHED)
