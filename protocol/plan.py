"""What a leader is to lead: a new run, or one that was left open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from crypto.symmetric import KEY_SIZE
from protocol.app_calls import ContentKey, Environment, KeyedContent, RunConfig
from protocol.blocks import CID, BlockError
from protocol.chain import Chain
from protocol.private import private_part
from protocol.reading import Epoch
from protocol.records import Run, RunPrivate
from protocol.trees import pack

FIRST_TERM: Final = 1
FIRST_EPOCH: Final = 1
"""Of a run that is encrypted."""
SERVER_NODE: Final = 1
"""The node id a ServerApp sees as its own, as under Flower's SuperLink."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run record says that is known before the app process is there."""

    app: CID
    seed: bytes = field(repr=False)
    name: str
    version: str
    config: RunConfig
    replay_format: int
    node_config: RunConfig = ()
    """Of this machine alone (where its data is, say): handed to the app, not recorded."""
    initial_model: KeyedContent | None = None
    """A stored content with the arrays that the app is to begin with; None where it makes its own."""


@dataclass(frozen=True, slots=True)
class ResumedRun:
    """A run that was left open: its verified chain, and its records from the first on."""

    chain: Chain
    records: Sequence[CID]


@dataclass(frozen=True, slots=True)
class NewKeys:
    """Keys just made, in a federation that encrypts: the block of their record, and their epoch."""

    record: CID
    epoch: Epoch


def run_body(
    plan: RunPlan,
    environment: Environment,
    *,
    manifest: CID,
    seed: CID,
    keys: NewKeys | None,
    member: bytes,
    now: float,
) -> Run:
    """The first record of a run; ``seed`` is the block with the plan's (`protocol.epochs.seed_block`)."""
    initial = plan.initial_model
    private = RunPrivate(
        name=plan.name,
        version=plan.version,
        config=plan.config,
        replay_format=plan.replay_format,
        environment=environment,
        initial_model_key=initial.key.key if initial is not None and initial.key is not None else b"",
    )
    empty, _ = pack([])
    return Run(
        by=member,
        time=now,
        epoch=None if keys is None else keys.epoch.number,
        private=private_part(private, Run.TYPE, None if keys is None else keys.epoch.model),
        run=None,
        prev=None,
        height=0,
        term=FIRST_TERM,
        looks=empty,
        empties=0,
        manifest=manifest,
        app=plan.app,
        seed=seed,
        initial_model=None if initial is None else initial.content,
        keys=None if keys is None else keys.record,
    )


def initial_content(body: Run, private: RunPrivate) -> KeyedContent | None:
    """What the app of a run begins with, as the run record says.

    Raises:
        BlockError: where it says no key, and the run is encrypted.
    """
    if body.initial_model is None:
        return None
    if body.epoch is None:
        return KeyedContent(body.initial_model, None)
    if len(private.initial_model_key) != KEY_SIZE:
        raise BlockError(f"the run record has no key of its initial model {body.initial_model}")
    return KeyedContent(body.initial_model, ContentKey(body.epoch, private.initial_model_key))
