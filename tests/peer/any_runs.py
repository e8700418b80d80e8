"""Runs in which everything that an app, a member or a server may choose is anything that Flower and the chain take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import any_records
from chains import ALICE, BOB, ENVIRONMENT, MEMBERS, Scribe
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from hypothesis import strategies as st
from inspected_runs import BUNDLE, WrittenRun
from terminals import HOSTILE

from protocol.blocks.bundle import write_bundle
from protocol.records.bodies import Close, Outcome, ReasonPrivate, Run, RunPrivate
from protocol.records.environment import MAX_TEXT
from strategy.replay.format import REPLAY_FORMAT

texts = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        [HOSTILE.replace("\ud800", ""), "server-round", "num-examples", "verified: all", "\x1b[2J", "a" * 300]
    ),
)
"""What dag-cbor has as text."""
run_settings = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), texts
)
models = st.one_of(
    any_records.records,
    st.dictionaries(any_records.text, any_records.arrays, min_size=1, max_size=3).map(
        lambda arrays: RecordDict({"arrays": ArrayRecord(arrays), "config": ConfigRecord({"server-round": 1})})
    ),
)
codes = st.integers(0, 2**31)


@dataclass(frozen=True)
class AnyRun:
    """What a run is made of."""

    name: str
    config: dict[str, Any]
    sent: list[RecordDict]
    """What the server sent in each exchange."""
    answered: list[RecordDict]
    group: str
    type: str
    code: int
    reason: str
    model: RecordDict
    outcome: Outcome

    def written(self) -> WrittenRun:
        """Alice answers each message. Bob's answer is an error, in turn his own and the leader's."""
        scribe = Scribe(MEMBERS)
        private = RunPrivate(
            name=self.name,
            version=self.reason,
            config=tuple(self.config.items()),
            app=write_bundle(BUNDLE)[0],
            replay_format=REPLAY_FORMAT,
            environment=replace(ENVIRONMENT, python=self.name[:MAX_TEXT]),
        )
        written = WrittenRun(scribe, **scribe.private(private, Run.TYPE, None))
        for number, (sent, answered) in enumerate(zip(self.sent, self.answered, strict=True)):
            group = scribe.group(ALICE, BOB, content=written.store(sent), type=self.type)
            scribe.add(scribe.dispatch(group, kinds=[(self.type, self.group)]))
            alice = scribe.taken(ALICE, content=written.store(answered))
            own = number % 2 == 0
            bob = scribe.taken(BOB, content=None, code=self.code, reason=self.reason) if own else scribe.error(BOB)
            scribe.add(scribe.collect(alice, bob, reasons=[self.reason]))
        ended = scribe.private(ReasonPrivate(reason=self.reason), Close.TYPE, None)
        scribe.add(scribe.close(outcome=self.outcome, model=written.store(self.model), **ended))
        return written


def _runs(exchanges: int) -> st.SearchStrategy[AnyRun]:
    several = st.lists(models, min_size=exchanges, max_size=exchanges)
    return st.builds(
        AnyRun,
        name=texts,
        config=st.dictionaries(texts, run_settings, max_size=3),
        sent=several,
        answered=several,
        group=texts,
        type=st.one_of(st.sampled_from(["train", "train.x"]), texts),
        code=codes,
        reason=texts,
        model=models,
        outcome=st.sampled_from(Outcome),
    )


runs = st.integers(1, 2).flatmap(_runs)
