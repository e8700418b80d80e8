"""Which app an auditor lets run. That a run record names an app is never a reason to run it."""

from __future__ import annotations

from pathlib import Path

from peer.audit.audit import Audit
from peer.base.errors import PeerError
from peer.replay.conditions import AuditedApp, Conditions
from protocol.blocks.bundle import read_bundle, read_named_bundle
from protocol.blocks.cid import CID, BlockError, MemoryBlocks
from protocol.records.bodies import RunConfig
from strategy.apps.builtin_app import builtin_app_folder, check_named, default_data_folder, model_class
from strategy.apps.bundling import bundle_folder, check_is_folder, check_self_contained


def local_config(data_dir: Path | None, model: str | None = None) -> RunConfig:
    """An app's settings of this machine: the folder with its data, and the model class that its owner lets run."""
    folder = () if data_dir is None else (("data-dir", str(data_dir.expanduser().absolute())),)
    return folder if model is None else (*folder, ("model", model))


def check_folder(folder: Path) -> None:
    """Check that ``folder`` is one, before anything is done for the app in it.

    Raises:
        PeerError: if it is not.
    """
    try:
        check_is_folder(folder)
    except BlockError as error:
        raise _not_usable(folder, error) from error


def own_app(folder: Path, conditions: Conditions, node_config: RunConfig = ()) -> AuditedApp:
    """The app in the auditor's ``folder``.

    Raises:
        PeerError: if it cannot be bundled.
    """
    place = folder.expanduser().absolute()
    try:
        app, blocks = bundle_folder(place)
    except (BlockError, OSError) as error:
        raise _not_usable(place, error) from error
    source = MemoryBlocks({block.cid: block.data for block in blocks})
    return AuditedApp(str(place), app, read_bundle(app, source), source, conditions, node_config)


def _not_usable(place: Path, error: Exception) -> PeerError:
    return PeerError(
        f"the app in {place} cannot be used: {error}",
        fix="name a Flower app's folder (with a pyproject.toml that has [tool.flwr.app]) with --app DIR",
    )


def trusted_app(
    audit: Audit,
    named: str,
    conditions: Conditions,
    node_config: RunConfig = (),
    approved: frozenset[CID] = frozenset(),
) -> AuditedApp:
    """The app that the run of ``audit`` records, if it is the built-in app or one that is ``approved``.

    The run record is verified, and ``named`` as the auditor named the run. An approved app is read from the run's
    blocks. If this reader cannot read which app it is, it is the built-in one: nothing is replayed then.

    Raises:
        PeerError: if the app is neither, or would import a model class that nobody named here.
        protocol.blocks.cid.BlockError: if an approved app cannot be read.
    """
    bundle, source, run_config = audit.bundle(), audit.source, audit.run_config()
    if bundle is not None and bundle.app in approved:
        files = read_named_bundle(bundle, source)
        check_self_contained(files, source)
        return AuditedApp(f"the bundle {bundle.content}", bundle.app, files, source, conditions, node_config)
    if conditions.confiner is not None and "data-dir" not in dict(node_config):
        # in its own home the app would look in vain
        node_config = (*node_config, ("data-dir", str(default_data_folder())))
    built_in = own_app(builtin_app_folder(), conditions, node_config)
    if bundle is not None and built_in.id != bundle.app:
        raise PeerError(
            f"the run is of the app {bundle.app}, which is not the built-in app of this version",
            fix=f"name the app's folder with --app DIR; or read it (peer app show {named}), "
            f"then let it run here (peer app approve {bundle.app})",
        )
    if run_config is not None:
        _refuse_unnamed(run_config, node_config, named)
    return built_in


def _refuse_unnamed(run_config: RunConfig, node_config: RunConfig, named: str) -> None:
    """Refuse a model class that only the run's settings name: they are its server's word."""
    try:
        check_named(dict(run_config), dict(node_config))
    except ValueError as error:
        name = model_class(dict(run_config))
        raise PeerError(
            f"this run is not replayed: {error}",
            fix=f"peer audit {named} --replay --model {name}, in the folder that has the class's file" if name else "",
        ) from error
