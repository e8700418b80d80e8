"""``peer demo``: one server and some clients on this machine, then the audit."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.base.errors import ExitCode, PeerError
from peer.base.installed_versions import require_torch_extra
from peer.base.terminal import is_terminal, put, say
from peer.cli.options import JsonOption, new_app
from peer.cli.output import bad, good, put_fields, put_json

if TYPE_CHECKING:
    from peer.demo.demo import DemoResult
    from peer.demo.plan import DemoPlan
    from peer.demo.progress import DemoTakeover

app = new_app()


@app.command()
def demo(
    dataset: Annotated[str, typer.Option("--dataset", help="digits, mnist, fashion-mnist or cifar10.")] = "digits",
    servers: Annotated[
        int, typer.Option("--servers", min=1, max=9, help="How many servers: one leads, the others stand by.")
    ] = 1,
    kill_leader: Annotated[
        bool,
        typer.Option("--kill-leader", help="Kill the server that leads (-9) in a middle round: another takes over."),
    ] = False,
    clients: Annotated[int, typer.Option("--clients", min=2, max=100, help="How many clients.")] = 3,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How many rounds.")] = 5,
    model: Annotated[str, typer.Option("--model", help="cnn, mlp, custom_cnn, or module:Class.")] = "cnn",
    ipfs: Annotated[
        str,
        typer.Option(
            "--ipfs",
            metavar="ENGINE",
            help="local (a directory), kubo (a private node per peer), or http://HOST:PORT (your node).",
        ),
    ] = "local",
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            allow_from_autoenv=False,  # POLLEN_HOME names a person's own home, which a demo must not touch
            help="The folder for the peers' homes. A later demo in it uses them again.",
            show_default="a new temporary folder, which stays",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", metavar="DIR", help="Where the dataset is.", show_default="~/.cache/pollen/datasets"
        ),
    ] = None,
    json: JsonOption = False,
) -> ExitCode:
    """Train with one server and some clients, all real processes on this machine, then audit the run.

    With --servers 2 the second server stands by: it replays the run as it goes on. With --kill-leader it has to take
    the run over, and the audit says who led when. Its replay runs the app once more, from the start and without a
    break, and comes to the same model bit for bit.
    """
    from peer.demo.plan import DemoPlan
    from strategy.apps.builtin_app import check_names

    try:
        check_names(dataset=dataset, model=model)
    except ValueError as error:
        raise PeerError(str(error)) from error
    if kill_leader and servers < 2:
        raise PeerError("if the leader is killed, nobody is there to take over", fix="give --servers 2, or more")
    require_torch_extra("the built-in app, which a demo runs,")
    plan = DemoPlan(
        folder=_folder(home),
        dataset=dataset,
        data_dir=None if data_dir is None else data_dir.expanduser().absolute(),
        model=model,
        clients=clients,
        rounds=rounds,
        ipfs=ipfs,
        standbys=servers - 1,
        kills_leader=kill_leader,
    )
    try:
        result = _perform(plan, as_json=json)
    except KeyboardInterrupt:
        say(f"stopped; all processes have ended, and their homes are in {plan.folder}")
        return ExitCode.UNFINISHED
    if json:
        put_json(_facts(plan, result))
    else:
        _tell(plan, result)
    return result.audit.exit_code


def _folder(home: Path | None) -> Path:
    return Path(tempfile.mkdtemp(prefix="pollen-demo-")) if home is None else home.expanduser().absolute()


def _perform(plan: DemoPlan, *, as_json: bool) -> DemoResult:
    from peer.demo.demo import perform
    from peer.demo.display import LiveDisplay, PlainDisplay

    live = is_terminal() and not as_json
    return perform(plan, LiveDisplay() if live else PlainDisplay(to_stderr=as_json))


def _tell(plan: DemoPlan, result: DemoResult) -> None:
    verdict = result.audit.verdict
    accuracy = "not measured" if result.accuracy is None else f"{result.accuracy:.4f}"
    put_fields(
        [
            ("accuracy", accuracy),
            ("head", str(result.audit.head)),
            ("audit", (good if verdict.exit_code is ExitCode.DONE else bad)(verdict.value)),
            ("records", str(result.audit.records)),
            *([("model", str(result.audit.value()["model"]))] if plan.standbys else []),
            ("seconds", ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in result.seconds.items())),
            ("logs", str(plan.logs)),
        ]
    )
    for finding in result.audit.findings:
        put(f"finding: height {finding.height}, {finding.rule}: {finding.message}")
    if plan.standbys:
        for reign in result.audit.reigns:
            put(reign.in_words())
    if result.takeover is not None and verdict.exit_code is ExitCode.DONE:
        put("the app, run again from the start and with no takeover, came to the same model bit for bit")
    put("next:")
    for command in _next_commands(plan, str(result.audit.head)):
        put(f"  {command}")
    put(f"report: {plan.report}")


def _next_commands(plan: DemoPlan, head: str) -> list[str]:
    home = shlex.quote(str(plan.auditing.home.path))
    peer = _program()
    return [
        f"{peer} history latest --home {home}",
        f"{peer} show {head} --home {home}",
        f"{peer} audit {head} --replay --home {home}",
        f"{peer} export {head} run.car --home {home}",
    ]


def _program() -> str:
    """How to call this program, so that the printed commands work."""
    called = Path(sys.argv[0])
    if called.name != "peer":
        return f"{shlex.quote(sys.executable)} -m peer"
    return "peer" if shutil.which("peer") == str(called) else shlex.quote(str(called))


def _takeover_value(takeover: DemoTakeover) -> dict[str, object]:
    """Seconds are since the kill."""
    return {
        "leader": takeover.leader,
        "term": takeover.term,
        "height": takeover.height,
        "led_after": round(takeover.led - takeover.killed, 3),
        "replied_after": round(takeover.replied - takeover.killed, 3) if takeover.is_over else None,
    }


def _facts(plan: DemoPlan, result: DemoResult) -> dict[str, object]:
    from peer.history.rounds import exchange_value

    audit = result.audit.value()
    return {
        "accuracy": result.accuracy,
        "verdict": audit["verdict"],
        "run": audit["run"],
        "head": audit["head"],
        "model": audit["model"],
        "records": audit["records"],
        "reigns": audit["reigns"],
        "takeover": None if result.takeover is None else _takeover_value(result.takeover),
        "findings": audit["findings"],
        "rounds": [exchange_value(exchange) for exchange in result.exchanges],
        "seconds": {phase.value: round(seconds, 3) for phase, seconds in result.seconds.items()},
        "homes": {peer.name: str(peer.home.path) for peer in plan.peers},
        "report": str(plan.report),
        "logs": {peer.name: str(peer.log) for peer in plan.peers},
    }
