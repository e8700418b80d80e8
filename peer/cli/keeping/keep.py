"""``peer keep``: shows and sets what stays in this home."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from peer.base.errors import PeerError
from peer.base.terminal import put, put_table
from peer.cli.keeping.opened_dropping import opened_dropping
from peer.cli.options import DEFAULT_HOME, EngineOption, HomeOption, JsonOption, new_app
from peer.cli.output import put_fields, put_json, size
from peer.history.listed_runs import listed_runs
from peer.home.home import Home
from peer.home.journal import Journal
from peer.keeping.applying import Applied, apply_keeping
from peer.keeping.chosen import chosen_keeping
from protocol.keeping.budget import AtMost, Budget, LeaveFree, NoBudget, parse_budget
from protocol.keeping.home_plan import BY_ROLE, Keeping
from protocol.keeping.plan import All, KeepPlan, PlanError, parse_plan
from protocol.run_names import SHOWN

app = new_app()

DEFAULT: Final = "default"


@app.command("keep")
def keep(
    plan: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PLAN]",
            help="models=all|last:K|last:K+best|room:K and updates=all|last:K|until-audited, or default. If left out, "
            "shows what is set.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="SIZE|disk|none", help="What the runs of this home may take together."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    ipfs: EngineOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show or set what stays on disk of the runs of this home, and drop what does not.

    Records, apps, initial and final models stay in any case (until `peer forget`), so each chain still verifies. An
    audit says of what was dropped "not kept by policy". What an open run needs to be resumed stays, whatever is said
    here. A running peer drops by itself, otherwise this command does.
    """
    place = Home(home).create()
    with Journal(place.journal) as journal:
        before = chosen_keeping(journal)
        said = _said(before, plan, budget)
        if said != before and not dry_run:
            journal.remember_keeping(str(said))
        has_runs = bool(journal.heads())
    applied: list[Applied] = []
    looks = dry_run or said != before
    leaves_it = place.is_locked and not dry_run
    if looks and has_runs and not leaves_it:
        with opened_dropping(place, ipfs) as dropping:
            applied = apply_keeping(place, dropping, said, dry_run=dry_run)
    if json:
        put_json(_value(said, applied, dry_run=dry_run))
        return
    names = {run.head.run: run.name for run in listed_runs(place)}
    put_fields(_fields(said))
    if leaves_it and looks:
        put("the running peer of this home drops what does not stay, within a second")
    elif looks:
        rows = [
            [names.get(each.run, ""), str(each.run)[:SHOWN], str(each.contents), size(each.bytes)] for each in applied
        ]
        if rows:
            put_table("would go" if dry_run else "dropped", ["name", "run", "contents", "size"], rows)
        else:
            put("nothing has to go" if dry_run else "nothing had to go")


def _said(before: Keeping, plan: list[str] | None, budget: str | None) -> Keeping:
    """What is set after this command."""
    text = " ".join(plan or ())
    try:
        chosen = before.plan if not text else None if text == DEFAULT else parse_plan(text)
        return Keeping(chosen, before.budget if budget is None else parse_budget(budget))
    except PlanError as error:
        raise PeerError(str(error), fix="peer keep --help") from error


def _fields(keeping: Keeping) -> list[tuple[str, str]]:
    if keeping.plan is not None:
        rows = [("plan", str(keeping.plan)), ("costs", _cost(keeping.plan))]
    else:
        rows = [("plan", "default: all stays while there is room; then, of the runs of")]
        for role, what in BY_ROLE.items():
            rows += [("", f"a {role.value}: {what}"), ("", f"  {_cost(what)}")]
    return [*rows, ("budget", _budget(keeping.budget))]


def _cost(plan: KeepPlan) -> str:
    """What cannot be done any more with what the plan lets go."""
    match plan.updates:
        case All():
            return "every round can be replayed here"
        case _ if "until-audited" in str(plan.updates):
            return "rounds can be replayed here until an auditor has confirmed them"
        case _:
            return "older rounds of closed runs are verified, and cannot be replayed here"


def _budget(budget: Budget) -> str:
    match budget:
        case AtMost(bytes=most):
            return f"{budget}: runs pause before all of them take more than {size(most)} here"
        case LeaveFree():
            return "disk: runs pause before less than 1 GB is free (5 % of a small disk)"
        case NoBudget():
            return "none: runs may fill the disk"


def _value(keeping: Keeping, applied: list[Applied], *, dry_run: bool) -> dict[str, Any]:
    return {
        "plan": None if keeping.plan is None else str(keeping.plan),
        "budget": str(keeping.budget),
        "dry_run": dry_run,
        "dropped": [{"run": str(each.run), "contents": each.contents, "bytes": each.bytes} for each in applied],
    }
