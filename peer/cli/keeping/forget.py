"""``peer forget``: removes a run from this home."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import confirm, put, say
from peer.cli.keeping.opened_dropping import opened_dropping
from peer.cli.options import DEFAULT_HOME, EngineOption, HomeOption, JsonOption, OneRunArgument, new_app
from peer.cli.output import counted, put_result, size
from peer.history.listed_runs import RunState, listed_runs
from peer.history.named_runs import run_here
from peer.home.home import Home
from peer.keeping.forgetting import Forgetting, forget, refuse_if_running, to_forget
from protocol.run_names import SHOWN
from protocol.visible import named

app = new_app()


@app.command("forget")
def forget_run(
    run: OneRunArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    ipfs: EngineOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> ExitCode:
    """Remove a run from this home for good: its records, contents, log, and what the journal has of it.

    What other runs of this home need stays, and so do proofs that somebody signed two different records. Other members
    keep what they have. To keep the run elsewhere first: `peer export RUN FILE.car`.
    """
    place = Home(home)
    head = run_here(place, run)
    running = any(each.head.run == head.run and each.state is RunState.RUNNING for each in listed_runs(place))
    refuse_if_running(place, head, running)
    with opened_dropping(place, ipfs) as dropping:
        what = to_forget(head, dropping)
        stock = dropping.journal.contents.stock_of(head.run)
        of_states = {block for state in what.states for block in dropping.stock.blocks_of(state)}
        bytes_gone = dropping.sizes(what.contents) + sum(dropping.engine.sizes(list(of_states)).values())
        bytes_gone += 0 if stock is None else stock.records
        label = str(head.run)[:SHOWN]
        say(f"forgetting the run {label}: {counted(len(what.contents), 'content')} and its records, {size(bytes_gone)}")
        for line in _about(what):
            say(line)
        if not yes and not _agreed(label):
            put("nothing was forgotten")
            return ExitCode.UNFINISHED
        forget(place, what, dropping)
    value: dict[str, Any] = {
        "run": str(head.run),
        "contents": len(what.contents),
        "blocks": len(what.blocks),
        "bytes": bytes_gone,
        "proofs_kept": what.proofs,
        "confirmed_by": list(what.confirmed),
    }
    put_result(value, json, f"the run {label} is forgotten: {size(bytes_gone)} freed")
    return ExitCode.DONE


def _about(what: Forgetting) -> list[str]:
    """What the owner should know before."""
    lines = []
    if not what.head.closed:
        lines.append("it is open: this home cannot go on with it afterwards, but keeps what it has signed in it")
    if what.confirmed:
        lines.append(f"these members have confirmed that they have it: {', '.join(map(named, what.confirmed))}")
    else:
        lines.append("no member has confirmed to this home that it has the run up to here: this may be the last copy")
    if what.unread:
        lines.append(f"{what.unread}. What it shares with this run goes too")
    if what.proofs:
        many = "a proof" if what.proofs == 1 else f"{what.proofs} proofs"
        lines.append(f"{many} that somebody signed two different records in it stays here")
    return lines


def _agreed(label: str) -> bool:
    if not sys.stdin.isatty():
        raise PeerError("nobody is here to ask", fix=f"peer forget {label} --yes")
    return confirm(f"Forget the run {label} for good?")
