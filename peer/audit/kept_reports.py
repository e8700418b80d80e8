"""Reports of verified runs, kept in the home, so that ``peer history`` of the same run need not verify it again.

Only `verified` is kept: what was missing may be here the next time. The report holds for one head, which fixes its
chain; for all else that the verdict rests on (`Basis`); and for the code that judged. If any of these has changed, the
run is verified anew. ``peer audit`` reads nothing from here.

The report of an encrypted run (names, reasons, metrics) is sealed to its reader, so that the home holds no more in the
clear than before. A reader without keys sees what anybody would see, and its report is kept in the clear.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from peer.audit.report import BestModel, Report, Settled, Tally
from peer.audit.root_of_trust import Root
from peer.base import logs
from peer.base.errors import PeerError
from peer.history.reigns import Reign
from peer.history.scratch import Scratch
from peer.history.verdict import Finding, Verdict
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, VerifiedHead
from peer.home.reader_choice import ReaderChoice
from protocol.blocks.cid import CID, BlockError, decode_cbor, encode_cbor
from protocol.blocks.typed import ShapeError, from_plain, to_plain
from protocol.federation.readers import Reader
from protocol.records.bodies import Outcome
from protocol.records.contexts import KeptReport, seal_for
from protocol.records.signed_records import WellSigned

MAX_KEPT: Final = 16 << 20
"""Bytes of a kept report at most, before it is compressed: some 30,000 exchanges."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a verdict rests on besides the chain itself, the rules and the reader."""

    newest: CID | None
    """The newest known version of the federation's manifest; None if this home has not joined the federation."""
    beside: frozenset[CID]
    """The grants, acks and proofs beside the run."""
    encrypted: bool
    """Whether the run is encrypted. If it is not, all readers read the same."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The report of a verified run. The fields are those of `Report`."""

    run: CID
    federation: CID
    records: int
    height: int
    rounds: int
    exchanges: int
    environments: int
    members: int
    federation_name: str
    app: str
    leader: str
    closed: bool
    term: int
    outcome: Outcome | None
    reason: str
    model: CID | None
    participants: tuple[tuple[str, Tally], ...]
    remarks: tuple[Finding, ...]
    confirmed: tuple[tuple[str, int], ...]
    recomputed: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
    contradicted: tuple[tuple[str, int], ...]
    reigns: tuple[Reign, ...]
    reigns_left_out: int
    settled: Settled | None
    highest_round: int | None
    keep: str
    closing: str
    best: BestModel | None
    rows: tuple[str, ...]
    """The exchanges, as `peer.history.rounds.exchange_value` gives them, without the sizes of contents."""

    def report(self, head: CID, root: Root, at: float) -> Report:
        """The report again, of the run of ``head``, which was verified ``at`` that time."""
        report = Report(head, Verdict.VERIFIED, root=root, verified_before=at)
        for name in _SAME:
            setattr(report, name, getattr(self, name))
        report.participants = dict(self.participants)
        report.remarks = list(self.remarks)
        report.confirmed = dict(self.confirmed)
        report.recomputed, report.contradicted = dict(self.recomputed), dict(self.contradicted)
        return report


_OTHERWISE: Final = {"participants", "remarks", "confirmed", "recomputed", "contradicted", "rows"}
_SAME: Final = {field.name for field in fields(_Kept)} - _OTHERWISE
"""The fields that a `Report` has in the same form."""


class KeptReports:
    """The reports that a home keeps: the newest of each run, for each of its readers."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def find(self, head: CID, choice: ReaderChoice, scratch: Scratch) -> Report | None:
        """The report of the run of ``head`` for the reader of ``choice``, if the run was verified before on the same
        basis as today's. Its exchanges are put into ``scratch``.

        Raises:
            PeerError: if the journal cannot be used, or the named identity cannot be opened.
        """
        if not self._home.journal.exists():
            return None
        with Journal(self._home.journal) as journal:
            found = journal.verified(head)
            if not found:
                return None
            newest = FederationStore(self._home).newest(found[0].federation)
            basis = Basis(newest, journal.names_beside(found[0].run), found[0].encrypted)
        reader = choice.open(self._home.path, ()) if basis.encrypted else Reader()
        for verified in found:
            if verified.reader == reader.member and verified.basis == _digest(basis, reader):
                kept = _opened(verified, reader)
                if kept is None:
                    return None
                for number, row in enumerate(kept.rows):
                    scratch.put_row(number, row)
                return kept.report(head, Root.RUN if newest is None else Root.JOINED, verified.at)
        return None

    def keep(self, report: Report, scratch: Scratch, basis: Basis | None, reader: Reader) -> None:
        """Keep which signatures an audit found right; and its report with the exchanges in ``scratch``, if the run is
        verified. Makes no journal in a home without one. An error is only logged: a full disk must not hide the
        verdict."""
        if not self._home.journal.exists():
            return
        row = self._row(report, scratch, basis, reader)
        try:
            with Journal(self._home.journal) as journal:
                if row is None:
                    journal.keep_well_signed(scratch.well_signed())
                else:
                    journal.keep_verified(row, scratch.well_signed())
        except PeerError as error:
            logs.event("report-not-kept", logging.WARNING, why=str(error), fix=error.fix)

    @contextlib.contextmanager
    def well_signed(self) -> Iterator[WellSigned]:
        """The records whose signatures this home found right before."""
        if not self._home.journal.exists():
            yield frozenset()
            return
        with Journal(self._home.journal) as journal:
            yield journal.well_signed

    def _row(self, report: Report, scratch: Scratch, basis: Basis | None, reader: Reader) -> VerifiedHead | None:
        if report.verdict is not Verdict.VERIFIED or basis is None:
            return None
        kept = _kept(report, scratch)
        if kept is None:
            return None
        data = zlib.compress(encode_cbor(to_plain(kept)), 1)
        if reader.has_keys:
            data = seal_for(reader.encryption_keys[0], data, KeptReport(kept.run, reader.member))
        return VerifiedHead(
            run=kept.run,
            federation=kept.federation,
            head=report.head,
            reader=reader.member,
            encrypted=basis.encrypted,
            basis=_digest(basis, reader),
            at=time.time(),
            report=data,
        )


def _kept(report: Report, scratch: Scratch) -> _Kept | None:
    rows, size = [], 0
    for text in scratch.rows():
        rows.append(_without_sizes(text))
        size += len(rows[-1])
        if size > MAX_KEPT:
            return None
    return _Kept(
        participants=tuple(report.participants.items()),
        remarks=tuple(report.remarks),
        confirmed=tuple(report.confirmed.items()),
        recomputed=tuple(report.recomputed.items()),
        contradicted=tuple(report.contradicted.items()),
        rows=tuple(rows),
        **{name: getattr(report, name) for name in _SAME},
    )


def _without_sizes(row: str) -> str:
    """An exchange as ``peer history`` shows it, which reads no contents."""
    exchange = json.loads(row)
    exchange["bytes_sent"] = exchange["bytes_received"] = None
    for answer in exchange["answers"]:
        answer["bytes"] = None
    return json.dumps(exchange)


def _opened(verified: VerifiedHead, reader: Reader) -> _Kept | None:
    """The kept report; None if it is damaged."""
    try:
        data = verified.report
        if reader.has_keys:
            data = reader.open(data, KeptReport(verified.run, reader.member))
        return from_plain(decode_cbor(zlib.decompress(data)), _Kept)
    except (BlockError, ShapeError, zlib.error):
        return None


def _digest(basis: Basis, reader: Reader) -> bytes:
    """A digest of all that must be unchanged if a report is to be shown again."""
    keys = [key.raw for key in reader.encryption_keys]
    beside = sorted(map(bytes, basis.beside))
    return hashlib.sha256(encode_cbor([_code(), basis.newest, beside, basis.encrypted, keys])).digest()


@cache
def _code() -> bytes:
    """A digest of the code that judges and reports, so that nobody has to remember a version when a rule changes."""
    digest = hashlib.sha256()
    for package in ("crypto", "protocol", "strategy", "peer"):
        for file in sorted(_files(package)):
            data = file.read_bytes()
            digest.update(b"%s %d " % (file.name.encode(), len(data)))
            digest.update(data)
    return digest.digest()


def _files(package: str) -> Iterable[Path]:
    spec = find_spec(package)  # imports nothing
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield from Path(folder).rglob("*.py")
