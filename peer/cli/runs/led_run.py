"""Leads the one run of `peer start --role server`, and tells how it has ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peer.apps.app_choice import AppChoice
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import say
from peer.cli.options import DEFAULT_HOME
from peer.cli.output import put_json
from peer.cli.runs.endings import unfinished
from peer.cli.seeing.live_status import Live
from peer.home.home import Home
from peer.run.narrator import cause_in_words
from protocol.records.bodies import Outcome, Role
from protocol.roles.effects import StopCause
from protocol.roles.leader.run_plan import LeaderSettings
from protocol.visible import quoted
from strategy.apps.builtin_app import model_class

if TYPE_CHECKING:  # they import flwr, so they come after the checks of key and federation
    from peer.roles.serving import ClosedRun
    from peer.run.session import Session


def lead(
    session: Session,
    choice: AppChoice,
    settings: LeaderSettings,
    seed: int | None,
    save_path: Path | None,
    live: Live,
    *,
    new_run: bool,
    wait_for_members: bool | None,
    as_json: bool,
) -> ExitCode:
    """Lead a run of the chosen app to its end. The arguments are the owner's options.

    Raises:
        PeerError: if the app or the settings cannot be used, or a run was left open that is not the same.
    """
    from peer.apps.taken_apps import take_app, tell_what_goes_along
    from peer.roles.leading import leading, seed_of
    from peer.run.initial_model import initial_model
    from peer.run.peer import run_alone

    app = take_app(session.home, choice.app_folder)
    if choice.folder is not None:
        tell_what_goes_along(app, Role.SERVER, session.on_report)
    config = choice.server_config(app.config)
    named = choice.initial_model
    led = leading(
        session,
        app,
        config,
        choice.local_config(config),
        settings,
        seed=None if seed is None else seed_of(seed),
        initial=None if named is None else initial_model(session, named, dict(config)),
        new_run=new_run or named is not None,
        wait_for_members=wait_for_members,
    )
    with live() as show:
        ending = led.ended(run_alone(led.prepared, show))
    closed = led.closed()
    if closed is None or ending.cause is StopCause.REPLAY:  # or this server, as a standby, contradicts it
        return unfinished(session, ending, _stays_open(named, new_run=new_run))
    if closed.outcome is Outcome.STOPPED and not as_json:
        say(f"the run was stopped: {quoted(closed.reason)}")
    if closed.outcome is Outcome.RAISED and not as_json:  # first, because writing the model may fail
        say(f"error: {cause_in_words(closed.reason)}")
        say(f"  fix: see its log {session.home.app_log('server')}")
    saved = _save(session, closed, save_path)
    facts = {
        "run": str(closed.run),
        "head": str(closed.head),
        "outcome": closed.outcome.value,
        "model": str(closed.model) if closed.model else None,
        "saved": str(saved) if saved else None,
        "reason": closed.reason,
    }
    if as_json:
        put_json(facts)
    elif closed.outcome is Outcome.RAISED:
        if saved:
            say(f"the newest model of the run is in {saved}")
    else:
        say(f"the final model is in {saved}" if saved else "the run is done")
        options = _audit_options(session.home, choice.folder, None if choice.folder else model_class(dict(config)))
        say(f"next: peer audit {closed.head} --replay{options}")
    if ending.cause is StopCause.DISPUTE:  # another server contradicts what was recorded last
        return unfinished(session, ending, "the run is closed")
    return ExitCode.APP_FAILED if closed.outcome is Outcome.RAISED else ExitCode.DONE


def _audit_options(home: Home, app: Path | None, model: str | None) -> str:
    options = "" if app is None else f" --app {app}"
    options += "" if model is None else f" --model {model}"
    return options if home.path == DEFAULT_HOME.expanduser() else f"{options} --home {home.path}"


def _stays_open(initial_model: str | None, *, new_run: bool) -> str:
    given = "--initial-model" if initial_model is not None else "--new-run" if new_run else ""
    without = f" without {given}" if given else ""
    return f"the run stays open: start again{without} to go on with it"


def _save(session: Session, closed: ClosedRun, path: Path | None) -> Path | None:
    """Write the final model to the owner's file, and mark the run as finished.

    Raises:
        PeerError: if the app returned without a model, or with one that the file format cannot hold. Also if the disk
            fails; then the run is not finished, and the same command tries again.
    """
    why = "" if path is None else _written(session, closed, path)
    session.journal.finish(closed.run)
    if why and closed.outcome is Outcome.RETURNED:  # a raised error was told before, and explains more
        raise PeerError(why, fix=f"the run is done: peer history {closed.head}", code=ExitCode.APP_FAILED)
    return None if why else path


def _written(session: Session, closed: ClosedRun, path: Path) -> str:
    """Write the final model to ``path``. Returns why it was not, if it has none that the file format can hold.

    Raises:
        PeerError: if the disk fails.
    """
    from peer.engine.contents import EngineBlocks  # here: most leaders write no file, and these import flwr
    from peer.engine.sound_blocks import SoundBlocks
    from strategy.models.model_files import NoModel, save_model

    if closed.model is None:
        return "the app has no final model to write"
    try:
        metadata = {"run": str(closed.run)}
        save_model(closed.model, EngineBlocks(SoundBlocks(session.engine)), closed.key, path, metadata)
    except NoModel as error:
        return f"no model file was written: {error}"
    except OSError as error:
        raise PeerError(
            f"the final model cannot be written to {path}: {error.strerror}",
            fix=f"fix that and start again, or peer model {closed.head} -o FILE",
            code=ExitCode.UNFINISHED,
        ) from error
    return ""
