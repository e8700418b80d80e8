"""The status of a home in Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from peer.status.peer_status import Part, PeerStatus
from protocol.status.lateness import Lateness
from protocol.status.role_status import Doing
from protocol.visible import visible

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_Labels = tuple[tuple[str, str], ...]


def exposition(status: PeerStatus) -> str:
    """All metrics of a status."""
    return "".join(f"{line}\n" for line in _lines(status))


def _lines(status: PeerStatus) -> Iterator[str]:
    yield from _gauge("pollen_up", "Whether a peer runs with the home.", [((), float(status.running))])
    health = status.health
    if health is not None:
        answers = float(health.engine is not None)
        yield from _gauge("pollen_engine_up", "Whether the engine answered.", [((), answers)])
        yield from _gauge("pollen_disk_free_bytes", "Bytes that the home's disk has left.", [((), health.free)])
    if health is not None and health.engine is not None:
        engine = health.engine
        yield from _gauge("pollen_engine_peers", "Engines that ours is connected to.", [((), engine.peers)])
        yield from _gauge("pollen_engine_stored_bytes", "Bytes of the blocks stored.", [((), engine.bytes_stored)])
        yield from _gauge("pollen_engine_sent_bytes", "Bytes sent since the engine started.", [((), engine.bytes_sent)])
    for name, meaning, of in _OF_PARTS:
        told = [(_of(part), of(part)) for part in status.parts]
        yield from _gauge(name, meaning, [(labels, value) for labels, value in told if value is not None])
    yield from _gauge(
        "pollen_members",
        "Members that the peer has to do with, by what they do. At most 200 are looked at.",
        [
            ((*_of(part), ("doing", doing.value)), sum(each.doing is doing for each in part.role.members))
            for part in status.parts
            for doing in Doing
        ],
    )
    yield from _gauge(
        "pollen_member_answers",
        "Answers of a client since the peer started.",
        [
            ((*_of(part), ("member", each.name)), each.answers.count)
            for part in status.parts
            for each in part.role.members
            if each.answers is not None
        ],
    )
    for name, meaning, late in _OF_LATE_MEMBERS:
        yield from _gauge(
            name,
            meaning,
            [
                ((*_of(part), ("member", each.name)), late(each.lateness))
                for part in status.parts
                for each in part.role.members
                if each.lateness is not None
            ],
        )
    yield from _gauge(
        "pollen_measured",
        "What clients measured last, as a mean.",
        [((*_of(part), ("metric", name)), value) for part in status.parts for name, value in _measured(part)],
    )


def _measured(part: Part) -> tuple[tuple[str, float], ...]:
    own = () if part.role.answers is None else part.role.answers.metrics
    return part.role.means or own


_OF_PARTS: Final = (
    ("pollen_round", "The round of the run.", lambda part: None if part.role.run is None else part.role.run.round),
    ("pollen_rounds", "How many rounds are asked for.", lambda part: part.role.run and part.role.run.rounds),
    ("pollen_height", "The height of the run's newest record.", lambda part: part.role.run and part.role.run.height),
    ("pollen_run_closed", "Whether the run is closed.", lambda part: part.role.run and float(part.role.run.closed)),
    (
        "pollen_paused",
        "Whether it begins no exchange: no room on the disk, or no witnesses.",
        lambda part: part.role.is_paused,
    ),
    (
        "pollen_recomputed_exchanges",
        "Exchanges of a standby that its own app computed as the server did.",
        lambda part: part.role.recomputed and part.role.recomputed.exchanges,
    ),
    (
        "pollen_contradicted",
        "Whether a standby's own app computed something else than the server.",
        lambda part: part.role.recomputed and part.role.recomputed.contradicted is not None,
    ),
    ("pollen_kept_runs", "Runs that a keeper keeps.", lambda part: part.role.keeps and part.role.keeps.runs),
    ("pollen_lacking", "Contents that a keeper lacks yet.", lambda part: part.role.keeps and part.role.keeps.lacking),
    ("pollen_waits", "How many things the peer waits for.", lambda part: len(part.role.waits)),
    ("pollen_trouble", "Recent trouble that the peer has told, 20 at most.", lambda part: len(part.trouble)),
)


_OF_LATE_MEMBERS: Final[tuple[tuple[str, str, Callable[[Lateness], float]], ...]] = (
    ("pollen_member_left_out", "Messages to a client that were left out.", lambda late: late.left_out),
    ("pollen_member_left_out_in_a_row", "How many of the newest to it were left out.", lambda late: late.in_a_row),
    ("pollen_member_late", "Replies of a client that came too late.", lambda late: late.late),
)


def _of(part: Part) -> _Labels:
    run = "" if part.role.run is None else part.role.run.run.label
    federation = part.federation
    return (
        ("federation", federation.name),
        ("federation_id", federation.id.label),  # names are chosen, and two federations may have the same
        ("role", part.role.called),
        ("run", run),
    )


def _gauge(name: str, meaning: str, samples: list[tuple[_Labels, float]]) -> Iterator[str]:
    if not samples:
        return
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} gauge"
    told: set[str] = set()  # Prometheus takes each series once: parts without a run are alike
    for labels, value in samples:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        if shown not in told:
            told.add(shown)
            yield f"{name}{{{shown}}} {float(value):.17g}" if shown else f"{name} {float(value):.17g}"


def _escaped(foreign: str) -> str:
    """A label's value: hostile, so that it may not end its quotation or its line."""
    return visible(foreign).replace("\\", "\\\\").replace('"', '\\"')
