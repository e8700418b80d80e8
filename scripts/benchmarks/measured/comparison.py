"""What systems took that ran the same app, as a file that calls of a benchmark add to, and what follows from it.

The file has each run of each system as it was measured. It is written anew after each of them, so a call that is cut
leaves what it has measured, and cases may be measured one call at a time.
"""

from __future__ import annotations

import json
import os
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from measured import Json
from measured.case import Case
from measured.processes_meter import ALL, Key, Measured
from peer.base.errors import ExitCode, PeerError

CLIENT = "client"
"""What all clients' nodes are called in the results."""

OfKinds = dict[str, dict[str, float]]
"""A number of each program of each kind of node: ``server`` or ``client``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRun:
    """What one run of one system took."""

    system: str
    megabytes: float
    clients: int
    seconds: tuple[float, ...]
    """Of each counted round."""
    processor_seconds: float
    """Of all processes, in all counted rounds."""
    processor_seconds_of: OfKinds
    """The same, of each kind of process, as far as it was seen."""
    peak_mb: OfKinds
    """The most memory that a process of this kind had, mapped files included."""
    own_peak_mb: OfKinds
    """The same without mapped files."""
    bytes_sent: dict[str, int]
    """By each node to others, in all counted rounds. Empty if they were not seen, or if there were none."""
    model_sha256: str
    last_loss: float
    load_average: tuple[float, float, float]
    """As the run ended."""

    @property
    def case(self) -> Case:
        """What was run."""
        return Case(self.megabytes, self.clients)


def system_run(
    system: str, case: Case, told: Mapping[str, object], seen: Measured, seconds: Sequence[float], end: float
) -> SystemRun:
    """One run whose app ``told`` its model's hash and losses. Its last ``seconds`` ended at ``end``, since 1970."""
    begin = end - sum(seconds)
    used = _by_kind(seen.seconds_between(begin, end))
    losses = told["losses"]
    assert isinstance(losses, list)
    return SystemRun(
        system=system,
        megabytes=case.megabytes,
        clients=case.clients,
        seconds=tuple(seconds),
        processor_seconds=sum(spent for (_, program), spent in used.items() if program == ALL),
        processor_seconds_of=_nested({key: spent for key, spent in used.items() if key[1] != ALL}),
        peak_mb=_nested(_largest(seen.peaks)),
        own_peak_mb=_nested(_largest(seen.own_peaks)),
        bytes_sent={node: count for node, count in sorted(seen.sent_between(begin, end).items()) if node},
        model_sha256=str(told["sha256"]),
        last_loss=float(losses[-1]),
        load_average=os.getloadavg(),
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that ended without a result."""

    system: str
    megabytes: float
    clients: int
    why: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs that a file has."""

    machine: Json
    """The machine as the first call began."""
    memory_filled: bool
    """Whether free memory was filled before each run."""
    runs: list[SystemRun]
    failures: list[Failure]

    @classmethod
    def read(cls, file: Path) -> Comparison:
        """The runs in a file that a benchmark wrote.

        Raises:
            PeerError: if it is no such file.
        """
        try:
            told = msgspec.json.decode(file.read_bytes(), type=_Written)
        except (OSError, msgspec.MsgspecError) as error:
            raise PeerError(
                f"{file} has no comparison: {error}", fix="name a file that scripts/bench flower wrote"
            ) from error
        return cls(told.machine, told.memory_filled, told.runs, told.failures)

    def joined(self, other: Comparison) -> Comparison:
        """The runs of both.

        Raises:
            PeerError: if they are not of one machine, or if memory was filled in one and not in the other.
        """
        for name in ("cpu", "cores", "memory_gb", "platform"):
            if self.machine.get(name) != other.machine.get(name):
                raise PeerError(
                    f"the runs are of two machines: {name} is {self.machine.get(name)} and {other.machine.get(name)}",
                    fix="choose another file for the results",
                )
        if self.memory_filled != other.memory_filled:
            raise PeerError(
                "free memory was filled for some of the runs and not for others",
                fix="choose another file for the results, or --fill-memory as before",
            )
        return Comparison(
            self.machine, self.memory_filled, [*self.runs, *other.runs], [*self.failures, *other.failures]
        )

    def write(self, file: Path) -> None:
        """Replace the file by these runs at once."""
        part = file.with_name(f".{file.name}.part")
        part.write_text(json.dumps(self.told, indent=2) + "\n")
        part.replace(file)

    @property
    def told(self) -> Json:
        """As JSON: the runs, and what follows from them."""
        return {
            "benchmark": "flower",
            "machine": self.machine,
            "memory_filled": self.memory_filled,
            "results": self.results,
            "failures": [msgspec.to_builtins(failure) for failure in self.failures],
            "runs": [msgspec.to_builtins(run) for run in self.runs],
        }

    @property
    def results(self) -> list[Json]:
        """What each system took in each case: cases in the order of their size, systems as they were first measured."""
        grouped: dict[tuple[Case, str], list[SystemRun]] = defaultdict(list)
        for run in self.runs:
            grouped[run.case, run.system].append(run)
        cases = sorted({case for case, _ in grouped}, key=lambda case: (case.megabytes, case.clients))
        systems = list(dict.fromkeys(run.system for run in self.runs))
        return [_result(grouped[case, system]) for case in cases for system in systems if (case, system) in grouped]

    def raise_difference(self) -> None:
        """Raises PeerError if two systems came to other models after the same rounds."""
        models: dict[tuple[Case, int], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for run in self.runs:
            models[run.case, len(run.seconds)][run.model_sha256].add(run.system)
        for (case, rounds), found in models.items():
            if len(found) > 1:
                told = "; ".join(f"{', '.join(sorted(systems))}: {model}" for model, systems in sorted(found.items()))
                raise PeerError(
                    f"the models of {case} are not the same after {rounds} rounds: {told}",
                    fix="this is a defect of one of the systems, or of the benchmark's app",
                    code=ExitCode.VERIFICATION_FAILED,
                )


class _Written(msgspec.Struct):
    """What is read back of a file."""

    machine: Json
    memory_filled: bool
    runs: list[SystemRun]
    failures: list[Failure]


def _result(runs: Sequence[SystemRun]) -> Json:
    """Of all runs of one system in one case."""
    rounds = [seconds for run in runs for seconds in run.seconds]
    sent: dict[str, int] = defaultdict(int)
    used: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for run in runs:
        for node, count in run.bytes_sent.items():
            sent[node] += count
        for kind, programs in run.processor_seconds_of.items():
            for program, spent in programs.items():
                used[kind][program] += spent
    return {
        "system": runs[0].system,
        "megabytes": runs[0].megabytes,
        "clients": runs[0].clients,
        "runs": len(runs),
        "rounds": len(rounds),
        "median_seconds": round(statistics.median(rounds), 3),
        "fastest_seconds": round(min(rounds), 3),
        "slowest_seconds": round(max(rounds), 3),
        "processor_seconds": round(sum(run.processor_seconds for run in runs) / len(rounds), 3),
        "processor_seconds_of": {
            kind: {program: round(spent / len(rounds), 3) for program, spent in programs.items()}
            for kind, programs in used.items()
        },
        "peak_mb": _most([run.peak_mb for run in runs]),
        "peak_mb_without_mapped_files": _most([run.own_peak_mb for run in runs]),
        "bytes_sent_per_round": {node: count // len(rounds) for node, count in sent.items()} or None,
        "model_sha256": runs[0].model_sha256,
        "last_loss": runs[0].last_loss,
        "load_average": [round(load, 2) for load in runs[-1].load_average],
    }


def _by_kind(of_nodes: Mapping[Key, float]) -> dict[Key, float]:
    """The same, with all clients taken together."""
    together: dict[Key, float] = defaultdict(float)
    for (node, program), value in of_nodes.items():
        if node:
            together[_kind(node), program] += value
    return dict(together)


def _largest(peaks: Mapping[Key, int]) -> dict[Key, float]:
    """In MB, the largest of each kind."""
    largest: dict[Key, float] = defaultdict(float)
    for (node, program), value in peaks.items():
        if node and program:
            key = _kind(node), program
            largest[key] = max(largest[key], round(value / 1e6, 1))
    return dict(largest)


def _most(peaks: Sequence[OfKinds]) -> OfKinds:
    """The largest of each kind, of all runs."""
    return _nested(
        {
            (kind, program): max(each.get(kind, {}).get(program, 0.0) for each in peaks)
            for one in peaks
            for kind, programs in one.items()
            for program in programs
        }
    )


def _kind(node: str) -> str:
    return CLIENT if node.startswith(CLIENT) else node


def _nested(values: Mapping[Key, float]) -> OfKinds:
    nodes: OfKinds = defaultdict(dict)
    for (node, program), value in sorted(values.items()):
        nodes[node][program] = value
    return dict(nodes)
