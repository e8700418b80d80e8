"""The options that `peer start` and `peer serve` share: how a server leads, and with which data a client trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from peer.apps.app_choice import Setting, given
from peer.base.errors import PeerError
from peer.cli.options import Whole
from peer.history.named_runs import named_cid
from peer.home.home import Home
from peer.run.narrator import AUDITED_HERE_ONLY
from protocol.blocks.cid import CID
from protocol.keeping.best import BestBy, BestError, parse_best
from protocol.keeping.plan import DROP_UPDATES, KeepPlan, PlanError, parse_plan
from protocol.records.bodies import MAX_WITNESSES, Role
from protocol.records.environment import Numerics
from protocol.replies.checks_and_limits import Admission
from protocol.replies.closing_rule import ClosingError, ClosingRule, closing_of
from protocol.roles.leader.run_plan import LEAVE_TIMEOUT, WITNESS_TIMEOUT, LeaderSettings
from protocol.votes.silence import LEAST_SILENCE

BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="SIZE|disk|none",
        help="What the runs of this home may take together, such as 500G; as peer keep --budget.",
        show_default="as before",
    ),
]


TakeoverAfterOption = Annotated[
    float,
    typer.Option(
        "--takeover-after",
        metavar="S",
        min=LEAST_SILENCE,
        help="Standby: seconds of the leader's silence, at least, after which this server asks the others to vote "
        "for it. It waits longer where the leader is heard unevenly.",
    ),
]


@dataclass(frozen=True, slots=True)
class KeepingOptions:
    """Which contents of a new run stay, and which model is marked as its best."""

    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="PLAN",
            help="Server: what of a new run stays, such as models=last:4+best updates=last:2. Recorded in the run.",
            show_default="everything",
        ),
    ] = None
    drop_updates: Annotated[
        bool,
        typer.Option(
            "--drop-updates",
            help="Server: let updates of the new run go while it is open, and older models if a budget needs their "
            "room. It cannot be resumed, nor be replayed in full. Recorded in the run.",
        ),
    ] = False
    best: Annotated[
        str | None,
        typer.Option(
            "--best",
            metavar="METRIC[:min|max]",
            help="Server: mark the best global model of the new run, by the mean of what clients answer. Recorded in "
            "the run.",
            show_default="none is marked",
        ),
    ] = None

    def plan(self) -> KeepPlan | None:
        """The plan; None if nothing is said of it.

        Raises:
            PeerError: if it is none.
        """
        words = ([] if self.keep is None else [self.keep]) + ([DROP_UPDATES] if self.drop_updates else [])
        if not words:
            return None
        said = self.keep is not None and DROP_UPDATES in self.keep.split()
        try:
            return parse_plan(" ".join(words[:1] if said else words))
        except PlanError as error:
            raise PeerError(str(error), fix='--keep "models=last:4+best updates=last:2", or --drop-updates') from error

    def best_by(self) -> BestBy | None:
        """By which metric the best model is marked; None if none is.

        Raises:
            PeerError: if it is none.
        """
        try:
            return None if self.best is None else parse_best(self.best)
        except BestError as error:
            raise PeerError(str(error), fix="--best accuracy, or --best eval_loss:min") from error


@dataclass(frozen=True, slots=True)
class ClosingOptions:
    """When an exchange of a new run does not wait for the slowest."""

    min_replies: Annotated[
        str | None,
        typer.Option(
            "--min-replies",
            metavar="K|SHARE",
            help="Server: an exchange need not wait for more replies than these: as 3, or 80%. Recorded in the run.",
            show_default="50% with --round-deadline, else all",
        ),
    ] = None
    round_deadline: Annotated[
        float | None,
        typer.Option(
            "--round-deadline",
            metavar="SECONDS",
            help="Server: but it waits at least so long, unless all are in. Recorded in the run.",
            show_default="0 with --min-replies",
        ),
    ] = None

    def rule(self) -> ClosingRule | None:
        """The rule; None if each exchange waits for all its replies.

        Raises:
            PeerError: if one of the two means nothing.
        """
        try:
            return closing_of(self.min_replies, self.round_deadline)
        except ClosingError as error:
            raise PeerError(str(error), fix="--min-replies 80% --round-deadline 30") from error


@dataclass(frozen=True, slots=True)
class LeadOptions:
    """How a server leads each of its runs."""

    client_timeout: Annotated[
        float, typer.Option("--client-timeout", min=0.1, help="Server: seconds a client has for one message.")
    ] = 3600.0
    leave_timeout: Annotated[
        float,
        typer.Option("--leave-timeout", min=0.0, help="Server: seconds a client that said goodbye has to come back."),
    ] = LEAVE_TIMEOUT
    admission: Annotated[
        str,
        typer.Option(
            "--admission",
            metavar="CHECKS",
            help="Server: the checks for each reply, before the app sees it, and for each model, before it is sent: "
            "all, off, or some of size,structure,weight,finite,model.",
        ),
    ] = "all"
    max_update_norm: Annotated[
        str | None,
        typer.Option(
            "--max-update-norm",
            metavar="NORM|Nx",
            help="Server: refuse updates that change the model by a larger L2 norm. Nx: by N times the median norm, or "
            "with N times the median weight.",
            show_default="no bound",
        ),
    ] = None
    witnesses: Annotated[
        int | None,
        typer.Option(
            "--witnesses",
            metavar="N",
            min=1,
            max=MAX_WITNESSES,
            help="Server: clients of a new run train only on models that N servers besides this one have recomputed "
            "(peer start --role server --standby). Recorded in the run.",
            show_default="as the federation says (peer federation set witnesses)",
        ),
    ] = None
    witness_timeout: Annotated[
        float,
        typer.Option(
            "--witness-timeout",
            min=0.0,
            help="Server: seconds that those servers have for one model; then the run pauses, and goes on once they "
            "have recomputed it.",
        ),
    ] = WITNESS_TIMEOUT
    numerics: Annotated[
        Numerics,
        typer.Option(
            "--numerics",
            help="Server: the kernels of the ServerApp's libraries. portable: those that every processor of its kind "
            "has, so that any auditor's machine computes the same bits. native: the fastest here, and GPUs; "
            f"{AUDITED_HERE_ONLY}.",
        ),
    ] = Numerics.PORTABLE

    def settings(self, min_clients: int, keeping: KeepingOptions, closing: ClosingOptions) -> LeaderSettings:
        """For a run that begins with ``min_clients``.

        Raises:
            PeerError: if the checks are none that there are, the plan is none, or the rule for early closing.
        """
        try:
            admission = Admission.parse(self.admission, self.max_update_norm)
        except ValueError as error:
            raise PeerError(
                str(error),
                fix="--admission all, off, or structure,weight; --max-update-norm 10, or 3x for three times the median",
            ) from error
        return LeaderSettings(
            min_clients,
            self.client_timeout,
            self.leave_timeout,
            admission,
            keep=keeping.plan(),
            best_by=keeping.best_by(),
            witness_timeout=self.witness_timeout,
            witnesses=self.witnesses,
            closing=closing.rule(),
        )


@dataclass(frozen=True, slots=True)
class StandbyOptions:
    """Whether a server leads, or stands by while another one does."""

    standby: Annotated[
        bool,
        typer.Option(
            "--standby", help="Server: lead no run; replay those that another server leads, and sign what comes of it."
        ),
    ] = False
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN|HEAD",
            help="Standby: begin with this run of another server, even if it is closed.",
            show_default="what the servers here lead",
        ),
    ] = None
    takeover_after: TakeoverAfterOption = LEAST_SILENCE

    def asked(self, role: Role, *, leads: bool) -> bool:
        """Whether a peer of this ``role`` stands by; ``leads``: its owner has chosen what only a leader may.

        Raises:
            PeerError: if it cannot.
        """
        if not self.standby and self.run is None:
            return False
        if role is not Role.SERVER:
            raise PeerError("--standby and --run are for a server", fix="give --role server")
        if leads:
            raise PeerError(
                "a standby takes seed and settings from the run that it replays, and writes no model",
                fix="of the app, give it --app or --approve-app alone",
            )
        return True

    def named(self, home: Home) -> CID | None:
        """The run to begin with, by itself or by its head; None if the owner named none. Raises `NoSuchRun`."""
        return None if self.run is None else named_cid(home, self.run)


@dataclass(frozen=True, slots=True)
class DataOptions:
    """With which data and settings an app runs on this machine."""

    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Built-in app: where the dataset is.",
            show_default="~/.cache/pollen/datasets",
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", min=1, help="Built-in app, client: examples per training step.", show_default="16"
        ),
    ] = None
    node_config: Annotated[
        list[str] | None,
        typer.Option(
            "--node-config",
            metavar='"K=V ..."',
            click_type=Whole(),
            help="Client: the app's settings for this node. Pairs, or one TOML file. May be repeated with pairs.",
        ),
    ] = None
    work_dir: Annotated[
        Path | None,
        typer.Option(
            "--work-dir",
            metavar="DIR",
            help="Client: the app's working folder. A confined app has one in the home.",
            show_default="the current folder",
        ),
    ] = None

    def settings(self, data_dir: Path | None) -> dict[str, Setting]:
        """The built-in app's settings for this machine, with its dataset in ``data_dir``."""
        data = None if data_dir is None else str(data_dir.expanduser().absolute())
        return given({"data-dir": data, "batch-size": self.batch_size})
