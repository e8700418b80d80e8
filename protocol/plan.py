"""What a leader is to lead: a new run, or one that was left open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.app_calls import Environment, RunConfig
from protocol.blocks import CID, Block
from protocol.chain import Chain
from protocol.records import Run, RunPrivate
from protocol.signed import private_bytes
from protocol.trees import pack

FIRST_TERM: Final = 1
SERVER_NODE: Final = 1
"""The node id a ServerApp sees as its own, as under Flower's SuperLink."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run record says that is known before the app process is there."""

    app: CID
    seed_block: Block
    seed: bytes
    name: str
    version: str
    config: RunConfig
    replay_format: int
    node_config: RunConfig = ()
    """Of this machine alone (where its data is, say): handed to the app, not recorded."""
    initial_model: CID | None = None
    """A stored content with the arrays that the app is to begin with; None where it makes its own."""


@dataclass(frozen=True, slots=True)
class ResumedRun:
    """A run that was left open: its verified chain, and its records from the first on."""

    chain: Chain
    records: Sequence[CID]


def run_body(plan: RunPlan, environment: Environment, manifest: CID, member: bytes, now: float) -> Run:
    """The first record of a run."""
    private = RunPrivate(
        name=plan.name,
        version=plan.version,
        config=plan.config,
        replay_format=plan.replay_format,
        environment=environment,
    )
    empty, _ = pack([])
    return Run(
        by=member,
        time=now,
        private=private_bytes(private),
        run=None,
        prev=None,
        height=0,
        term=FIRST_TERM,
        looks=empty,
        empties=0,
        manifest=manifest,
        app=plan.app,
        seed=plan.seed_block.cid,
        initial_model=plan.initial_model,
        keys=None,
    )
