"""A status in words, in at most 80 columns unless a name is long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from peer.base.terminal import Text
from peer.cli.output import bad, clock_time, doubtful, duration, good, size
from peer.status.peer_status import Health, Part, PeerStatus
from protocol.blocks.cid import CID
from protocol.keeping.best import Direction
from protocol.records.roles import Role
from protocol.replies.closing_rule import parse_closing
from protocol.status.lateness import Lateness
from protocol.status.measures import in_words
from protocol.status.role_status import (
    Answers,
    Best,
    Doing,
    Kept,
    Lack,
    MemberStatus,
    Recomputation,
    RoleStatus,
    RunStatus,
    Wait,
    WitnessStatus,
)
from protocol.status.takeover_status import TakeoverLack, TakeoverStatus
from protocol.visible import named, quoted

Line = tuple[Text, ...]

MEMBERS_SHOWN: Final = 30
"""Lines of members. Those that need a look come first."""

_WHY_SHOWN: Final = 120

_LACKS: Final = {
    Lack.APP: "its app process to start",
    Lack.APP_FILES: "the files of the run's app",
    Lack.APPROVAL: "you to approve the run's app: peer app list",
    Lack.PAST: "others to say what they have of ours",
    Lack.SERVER: "a run: no server that leads one is heard",
    Lack.RUN: "a server to begin a run",
    Lack.RECORDS: "the run's records: they were announced, but cannot be fetched yet",
    Lack.ROSTER: "the run's leader to take up the newest manifest",
    Lack.VOTERS: "a majority of the run's voters to be heard: another server may lead by now",
    Lack.ROOM: "room on the disk: peer du, peer keep --budget SIZE, peer forget RUN",
    Lack.CONTENT: "the content of a message: it was announced, but cannot be fetched yet",
}


def status_lines(status: PeerStatus, *, full: bool) -> Iterator[Line]:
    """The lines of a status. ``full``: with whole ids in place of labels."""
    if not status.running:
        yield (doubtful("no peer runs"), f" with the home {status.home}")
    if not status.parts:
        yield (_without_part(status),)
    for part in status.parts:
        yield from _part_lines(status, part, full=full)
    if status.health is not None:
        yield from _health_lines(status, status.health)
    elif status.engine:
        yield (f"engine      {status.engine}",)
    for wait in status.waits:
        yield ("for you     ", doubtful(wait))
    for part in status.parts:
        for each in part.trouble:
            yield (f"{clock_time(each.at)}  ", doubtful(each.text))


def _without_part(status: PeerStatus) -> str:
    if not status.running:
        return "it has taken part in no run yet; start a peer: peer start --role client, or server"
    for_so_long = "" if status.since is None else f", for {duration(status.at - status.since)}"
    return f"a peer stands here{for_so_long}; no run goes on now: peer ls shows those that were"


def live_lines(status: PeerStatus, *, full: bool) -> Iterator[Line]:
    """The lines of a status that change below what a running peer tells: trouble is told above."""
    yield ("",)
    for part in status.parts:
        yield from _part_lines(status, part, full=full)
    if status.health is not None:
        yield from _health_lines(status, status.health)


def _part_lines(status: PeerStatus, part: Part, *, full: bool) -> Iterator[Line]:
    role, federation = part.role, part.federation
    who = f"{named(part.identity)}, " if part.identity else ""
    named_federation = named(federation.name) if federation.name else _shown(federation.id, full=full)
    for_so_long = f", for {duration(status.at - part.since)}" if status.running else ""
    yield (f"{role.called:<12}{who}{named_federation} (manifest {federation.version}){for_so_long}",)
    if role.run is not None:
        yield from _run_lines(role.run, status, part, full=full)
    if role.offline:
        yield ("offline     ", bad("the engine does not answer, so nobody can be heard"))
    if role.keeps is not None:
        yield from _kept_lines(role.keeps)
    if role.refuses:
        yield ("no part     ", bad(quoted(role.refuses, _WHY_SHOWN * 3)))
    if role.recomputed is not None:
        yield from _recomputed_lines(role.recomputed)
    yield from _other_server_lines(role)
    if role.work is not None:
        yield (f"works       on a {named(role.work.type)} message, for {duration(status.at - role.work.since)}",)
    if role.answers is not None:
        yield (f"gave        {_answered(role.answers)}",)
    for wait in role.waits:
        yield (f"waits for   {_wait(wait, status.at)}",)
    yield from _member_lines(role, status.at)


def _recomputed_lines(told: Recomputation) -> Iterator[Line]:
    exchanges = "1 exchange" if told.exchanges == 1 else f"{told.exchanges} exchanges"
    upto = "" if told.height is None else f", up to height {told.height}"
    undecided = f", and {told.undecided} of which this machine cannot tell" if told.undecided else ""
    yield (f"recomputed  {exchanges} as the server did{upto}{undecided}",)
    if told.contradicted is not None:
        yield (
            "otherwise   ",
            bad(f"at height {told.contradicted} this server computed something else, and signs that"),
        )
    if told.why:
        yield ("untold      ", doubtful(quoted(told.why, _WHY_SHOWN * 3)))


def _other_server_lines(role: RoleStatus) -> Iterator[Line]:
    if role.takeover is not None:
        yield ("takeover    ", *_takeover(role.takeover))
    for witness in role.witnesses:
        yield ("witness     ", *_witness(witness))


def _takeover(status: TakeoverStatus) -> Line:
    if status.lack is None:
        return (f"possible: {status.here} of {status.of} voters are here besides the leader",)
    why = f"not possible: {status.in_words}"
    return (why,) if status.lack is TakeoverLack.OTHER_SERVER else (doubtful(why),)


def _witness(witness: WitnessStatus) -> Line:
    doing = f"{named(witness.name)} is {witness.doing.value}"
    far = "has recomputed nothing yet" if witness.height is None else f"has recomputed up to height {witness.height}"
    return (good(doing) if witness.doing.is_here else doubtful(doing), f", and {far}")


def _kept_lines(kept: Kept) -> Iterator[Line]:
    incomplete = f", {kept.incomplete} closed and not whole yet" if kept.incomplete else ""
    yield (f"keeps       runs: {kept.open} open, {kept.whole} closed and whole{incomplete}",)
    if kept.lacking:
        yield ("lacks       ", doubtful(f"{kept.lacking} contents that are not here yet"))


def _run_lines(run: RunStatus, status: PeerStatus, part: Part, *, full: bool) -> Iterator[Line]:
    state = "closed" if run.closed else "open"
    app = f"app {named(run.app)}, " if run.app else ""
    yield (f"run         {_shown(run.run, full=full)}: {app}{state} at height {run.height}",)
    if full:
        yield (f"head        {run.head}",)
    if run.term > 1 or (run.leader and not status.running):
        led = f", led by {named(run.leader)}" if run.leader else ""
        as_known = ", as this home heard last" if led and not status.running and not run.closed else ""
        yield (f"term        {run.term}{led}{as_known}",)
    if not status.running:
        yield (f"changed     {duration(status.at - part.since)} ago",)
    if run.keep:
        yield (f"keeps       {run.keep}",)
    if run.closing:
        yield (f"closes      an exchange {parse_closing(run.closing).in_words()}",)
    if run.round is not None:
        of = "" if run.rounds is None else f" of {run.rounds}"
        means = in_words(part.role.means)
        yield (f"round       {run.round}{of}{f': {means} (mean)' if means else ''}",)
    if run.best is not None:
        yield (f"best        {_best(run.best)}",)


def _best(best: Best) -> str:
    metric, _, direction = best.by.rpartition(":")
    since = " since it went on" if best.resumed else ""
    if best.value is None:
        return f"none yet{since}, by {named(metric)}"
    mean = "smallest" if direction == Direction.MIN else "largest"
    which = "" if best.round is None else f"round {best.round}: "
    return f"{which}{named(metric)} {best.value:.4g}, the {mean} mean{since}"


def _wait(wait: Wait, now: float) -> str:
    match wait.lack:
        case Lack.CLIENTS if wait.needed is not None:
            what = f"clients: {wait.here} of {wait.needed} are here"
        case Lack.CLIENTS:
            what = f"more clients than the {wait.here} that are here, as its app asks"
        case Lack.REPLIES if wait.needed is not None:
            what = f"the answers of {_some(wait.whom)}: {wait.here} of the {wait.needed} that are enough"
        case Lack.REPLIES:
            what = f"the answers of {_some(wait.whom)}"
        case Lack.CLOSE_HEARD:
            what = f"{_some(wait.whom) or 'clients'} to verify the last record"
        case Lack.KEPT:
            what = f"{_some(wait.whom)} to have all of the run"
        case Lack.WITNESSES:
            have = "" if wait.needed is None else f": {wait.here} of {wait.needed} have"
            what = f"{_some(wait.whom) or 'other servers'} to recompute what clients train on{have}"
        case Lack.PAST if wait.whom:
            what = f"{_some(wait.whom)} to say what they have of ours"
        case _:
            what = _LACKS[wait.lack]
    until = "" if wait.until is None else f", until {clock_time(wait.until)} ({duration(wait.until - now)} more)"
    return what + until


_NAMED: Final = 5


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(named, names[:_NAMED])) + more


def _member_lines(role: RoleStatus, now: float) -> Iterator[Line]:
    if not role.members:
        return
    leads = role.role is Role.SERVER and role.recomputed is None
    kind = "members" if role.role is Role.KEEPER else "clients" if leads else "servers"
    yield (f"{kind:<12}{role.here} of {role.of} here",)
    shown = role.members[:MEMBERS_SHOWN]
    width = min(max(len(named(member.name)) for member in shown), 30)
    for member in shown:
        doing = f"{member.doing.value:<11}"
        coloured: Text = doing
        if member.doing.is_here:
            coloured = good(doing)
        elif member.doing is not Doing.UNHEARD:
            coloured = doubtful(doing) if member.doing in (Doing.AWAY, Doing.LEFT) else bad(doing)
        is_quiet = role.role is Role.CLIENT and member.doing is Doing.UNHEARD
        about = "speaks to clients only while it leads" if is_quiet else _about(member, now)
        yield (f"  {named(member.name):<{width}}  ", coloured, about)
    if role.of > len(shown):
        yield (f"  and {role.of - len(shown)} more",)


def _about(member: MemberStatus, now: float) -> str:
    """What matters of a member: why it takes no part, since when it is silent, or what it has answered."""
    if member.why:
        return quoted(member.why, _WHY_SHOWN)
    how = "said goodbye" if member.doing is Doing.LEFT else "heard"
    parts = [] if member.heard is None else [f"{how} {duration(now - member.heard)} ago"]
    if member.doing.is_here:
        parts = [] if member.answers is None else [_answered(member.answers)]
    elif member.answer_by is not None:
        parts.append(f"owes an answer until {clock_time(member.answer_by)}")
    if member.lateness is not None:
        parts.append(_late(member.lateness))
    return ", ".join(parts)


def _late(lateness: Lateness) -> str:
    """How often exchanges did not wait for a client. One that is always left out has no part in the model."""
    times = "once" if lateness.left_out == 1 else f"{lateness.left_out} times"
    row = f", the last {lateness.in_a_row} in a row" if lateness.in_a_row > 1 else ""
    late = f", {lateness.late} came late" if lateness.late else ""
    return f"left out {times}{row}{late}"


def _answered(answers: Answers) -> str:
    measured = in_words(answers.metrics)
    times = "1 answer" if answers.count == 1 else f"{answers.count} answers"
    return f"{times}, last in {answers.seconds:.3g} s{f': {measured}' if measured else ''}"


def _health_lines(status: PeerStatus, health: Health) -> Iterator[Line]:
    if health.engine is None:
        yield ("engine      ", bad(f"{status.engine} does not answer: {health.trouble}"))
    else:
        engine = health.engine
        others = "1 other engine" if engine.peers == 1 else f"{engine.peers} other engines"
        sent = size(engine.bytes_sent)
        yield (f"engine      {status.engine}, {engine.kind} {engine.version}: {others}, {sent} sent",)
        lasted = health.at - health.since
        rate = f", {size(round(health.grown * 3600 / lasted))}/h" if lasted >= 60 and health.grown > 0 else ""
        grown = f", {size(max(health.grown, 0))} more in {duration(lasted)}{rate}" if lasted >= 1 else ""
        yield (f"disk        {size(engine.bytes_stored)} stored{grown}; {size(health.free)} free",)
        return
    yield (f"disk        {size(health.free)} free",)


def _shown(cid: CID, *, full: bool) -> str:
    return str(cid) if full else cid.label
