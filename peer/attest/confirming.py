"""An auditor confirms a run: it signs an ack of the head that it has audited, with all contents.

The ack is beside the run, in the auditor's home. `peer export` takes it along, and `peer import` of that file brings it
to the server's home, whose plan may wait for it (``updates=until-audited``).
"""

from __future__ import annotations

from crypto.identity import Identity
from peer.audit.audit import Audit
from peer.base.errors import ExitCode, PeerError
from peer.history.verdict import Verdict
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import CID
from protocol.blocks.listing import pack
from protocol.keeping.confirmed import audited_height
from protocol.records.bodies import Ack
from protocol.records.signed_records import parse_record, sign_record


def confirm(audit: Audit, home: Home, identity: Identity, *, at: float) -> CID:
    """Keep an ack of the head of ``audit``, which has been run, in ``home``; ``at`` is when, in seconds since 1970. If
    the member has acked that head before, that is its ack: a key signs once in one place. Returns the ack's CID.

    Raises:
        PeerError: if the run is not verified with all its contents, the member is not an auditor and nothing else, or
            it has acked another record there.
    """
    report, chain = audit.report, audit.chain
    if report.verdict is not Verdict.VERIFIED or chain is None or chain.head is None or not audit.with_contents:
        raise PeerError(
            f"nothing was confirmed: the run is {report.verdict.value}",
            fix="see the findings above",
            code=report.verdict.exit_code,
        )
    if report.not_kept.contents or (report.replay is not None and report.replay.not_kept):
        raise PeerError(
            "nothing was confirmed: some of its contents are not kept, so nobody can see them",
            fix="audit it where they are: --ipfs ENGINE, or a file that was exported before they went",
            code=ExitCode.UNFINISHED,
        )
    if audited_height({identity.id: chain.height}, chain.manifest) is None:
        raise PeerError(
            f"nothing was confirmed: {identity.name} is not an auditor of this federation, or not only that",
            fix="the ack of a server or a client says that it follows the run; an auditor's that it has audited it",
        )
    with Journal(home.journal) as journal:
        for block in journal.beside(chain.run):
            body = parse_record(block).body
            if not isinstance(body, Ack) or body.by != identity.id:
                continue
            if (body.term, body.height) == (chain.term, chain.height):
                if body.head == chain.head:
                    return block.cid
                raise PeerError(
                    f"nothing was confirmed: {identity.name} has confirmed another record at height {chain.height}",
                    fix=f"the server has shown two histories: keep both, and audit the other one: {body.head}",
                    code=ExitCode.VERIFICATION_FAILED,
                )
        empty, _ = pack([])
        ack = Ack(
            by=identity.id,
            time=at,
            run=chain.run,
            term=chain.term,
            height=chain.height,
            head=chain.head,
            replies=empty,
        )
        signing = chain.manifest.members[identity.id].signing
        key = next((each for each in identity.signing_keys if each.verify_key.raw == signing), None)
        if key is None:
            raise PeerError(f"nothing was confirmed: {identity.name} has not the key that the federation lists for it")
        signed = sign_record(ack, [key])
        journal.keep_beside(chain.run, [signed])
    return signed.cid
