"""How people name runs, heads and apps: by a name of this home's, a CID or its first characters, or a CAR file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from peer.base.errors import PeerError
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.kept_jobs import KeptJob
from protocol.blocks.cid import CID, MalformedCid
from protocol.run_names import SHOWN, RunHere, named_by
from protocol.visible import named

_RUNS: Final = "peer ls shows the runs of this home; a CAR file's name ends in .car"
NONE_YET: Final = (
    "begin one: peer start --role server, or peer run DIR with a peer that stands; or take one in: peer import FILE.car"
)
"""What to do in a home that has no run."""

_APPS: Final = "peer app list shows the apps that runs wait for"

_TOLD: Final = 4
"""How many runs an error names, of those that may be meant."""


class NoSuchRun(PeerError):
    """What was named is not a run: no name, no CID, no file with a run, or the CID of something else."""


def cid_of(text: str, fix: str = _RUNS) -> CID:
    """The CID that somebody typed; ``fix`` tells how to find one.

    Raises:
        NoSuchRun: if it is not a CID.
    """
    try:
        return CID.parse(text)
    except MalformedCid as error:
        raise NoSuchRun(f"{text!r} is no CID", fix=fix) from error


def app_cid(text: str) -> CID:
    """The app id that somebody typed.

    Raises:
        PeerError: if it cannot be an app's.
    """
    cid = cid_of(text, _APPS)
    if cid.is_raw:
        raise PeerError(f"{text} is the CID of plain bytes, not of an app", fix=_APPS)
    return cid


def is_car(text: str) -> bool:
    """Whether ``text`` names a CAR file rather than a run."""
    return Path(text).suffix == ".car" or Path(text).is_file()


def runs_here(journal: Journal) -> list[RunHere]:
    """The runs of a home, as people can name them."""
    known = journal.known_runs()
    return [
        RunHere(
            head.run,
            head.head,
            known[head.run].name if head.run in known else "",
            known[head.run].began if head.run in known else head.updated,
        )
        for head in journal.heads()
    ]


def shown(run: CID) -> str:
    """A run as people are shown it, if it has no name: its first characters, which name it in a command."""
    return str(run)[:SHOWN]


def named_cid(home: Home, text: str) -> CID:
    """The CID that ``text`` names: ``latest``, a run's name, the first characters of a run's CID or head, or any CID.

    Raises:
        NoSuchRun: if it names nothing, or more than one run.
    """
    try:
        return CID.parse(text)
    except MalformedCid as error:
        runs = _runs_of(home)
        match named_by(text, runs):
            case [run]:
                return run.run
            case []:
                if not runs:
                    raise NoSuchRun("this home has no run yet", fix=NONE_YET) from error
                why = f"no run of this home is called {named(text)}, or has a CID that begins so"
                raise NoSuchRun(why, fix=_RUNS) from error
            case several:
                which = ", ".join(f"{run.name or 'a run without a name'} ({shown(run.run)})" for run in several[:_TOLD])
                more = f" and {len(several) - _TOLD} more" if len(several) > _TOLD else ""
                raise NoSuchRun(f"{named(text)} may be any of {which}{more}", fix="type more of it") from error


def head_named(home: Home, text: str) -> tuple[CID, int | None]:
    """The head that ``text`` names, and its height if the journal knows it. Raises as `named_cid`."""
    cid = named_cid(home, text)
    if home.journal.exists():
        with Journal(home.journal) as journal:
            known = journal.head_of(cid) or journal.run_of(cid)
        if known is not None:
            return known.head, known.height
    return cid, None


def run_here(home: Home, text: str) -> RunHead:
    """The run of this home that ``text`` names. Raises as `named_cid`, also for a CID that is no run here."""
    cid = named_cid(home, text)
    known = None
    if home.journal.exists():
        with Journal(home.journal) as journal:
            known = journal.head_of(cid) or journal.run_of(cid)
    if known is None:
        raise NoSuchRun(f"this home has no part in a run {cid}", fix=_RUNS)
    return known


def job_without_run(home: Home, text: str) -> KeptJob | None:
    """The job that ``text`` names, if it has no run: it waits, or was given up."""
    if not home.journal.exists():
        return None
    with Journal(home.journal) as journal:
        return next((job for job in journal.jobs.all() if job.run is None and job.name == text), None)


def _runs_of(home: Home) -> list[RunHere]:
    if not home.journal.exists():
        return []
    with Journal(home.journal) as journal:
        return runs_here(journal)
