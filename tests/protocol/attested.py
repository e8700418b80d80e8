"""Statements about a run, for the tests of those who write and read them."""

from __future__ import annotations

import hashlib

from crypto.keys import SigningKey
from crypto.model_key import ModelKey
from protocol.attestations.audit_predicate import (
    AttestedFinding,
    AuditedApp,
    AuditedRun,
    AuditPredicate,
    CheckedModel,
    Compared,
    Environments,
    ReplayedRun,
    RootOfTrust,
    Tool,
)
from protocol.attestations.model_predicate import ModelPredicate, ModelRun, VouchedKey
from protocol.attestations.statement import Statement, Subject, block_subject
from protocol.blocks.cid import cbor_block

HEAD, RUN, FEDERATION, APP, MODEL = (cbor_block(name).cid for name in ("head", "run", "federation", "app", "model"))
TOOL = Tool(name="pollen-fl", version="0.1.0")
FILE = CheckedModel(sha256=hashlib.sha256(b"a model").hexdigest(), round=3, of="server", content=MODEL, exact=True)
KEY = VouchedKey(scheme="ecdsa-sha2-nistp256", pem=ModelKey.of(SigningKey.from_seed(b"a" * 32)).public_pem)

AUDITED = Statement(
    (block_subject("head", HEAD), block_subject("final model", MODEL), Subject("m.npz", FILE.sha256)),
    AuditPredicate(
        verdict="failed",
        audited_at="2026-11-27T04:00:00Z",
        tool=TOOL,
        root_of_trust=RootOfTrust(basis="run", federation=FEDERATION),
        run=AuditedRun(
            head=HEAD, run=RUN, height=1, closed=True, outcome="returned", encrypted=False, final_model=MODEL
        ),
        app=AuditedApp(id=APP, name="app", version="1.0"),
        compared=Compared(
            records=2,
            exchanges=1,
            contents=True,
            replay=ReplayedRun(outcome="beyond", exchanges=1, messages=2, undecided=0, settling=None),
        ),
        not_compared=("the rest",),
        environment=Environments(recorded={"python": "3.11"}, here={"python": "3.12"}, differing=("python",)),
        findings=(AttestedFinding(rule="replay", height=1, cid=None, message="it differs"),),
        findings_left_out=0,
        models=(FILE,),
    ),
)

SIGNED = Statement(
    (Subject("m.npz", FILE.sha256), Subject("m.npz.pub", KEY.sha256)),
    ModelPredicate(
        signed_at="2026-11-27T04:00:00Z",
        tool=TOOL,
        run=ModelRun(head=HEAD, run=RUN, federation=FEDERATION),
        model=FILE,
        key=KEY,
    ),
)
