"""Which app an auditor lets run. That a run record names an app is never a reason to run it."""

from __future__ import annotations

from pathlib import Path

from peer.apps.app_python import OUR_PYTHON
from peer.audit.replay import AuditedApp
from peer.base.errors import PeerError
from peer.confinement.confined import Confiner
from peer.history.run_sources import RunSource
from protocol.blocks.bundle import NamedBundle, read_bundle, read_named_bundle
from protocol.blocks.cid import CID, BlockError, MemoryBlocks
from protocol.records.bodies import RunConfig
from strategy.apps.builtin_app import builtin_app_folder, check_named, default_data_folder, model_class
from strategy.apps.bundling import bundle_folder, check_self_contained


def local_config(data_dir: Path | None, model: str | None = None) -> RunConfig:
    """An app's settings of this machine: the folder with its data, and the model class that its owner lets run."""
    folder = () if data_dir is None else (("data-dir", str(data_dir.expanduser().absolute())),)
    return folder if model is None else (*folder, ("model", model))


def own_app(
    folder: Path, confiner: Confiner | None, node_config: RunConfig = (), python: tuple[str, ...] = OUR_PYTHON
) -> AuditedApp:
    """The app in the auditor's ``folder``.

    Raises:
        PeerError: if it cannot be bundled.
    """
    place = folder.expanduser().absolute()
    try:
        app, blocks = bundle_folder(place)
    except (BlockError, OSError) as error:
        raise PeerError(
            f"the app in {place} cannot be used: {error}",
            fix="name a Flower app's folder (with a pyproject.toml that has [tool.flwr.app]) with --app DIR",
        ) from error
    source = MemoryBlocks({block.cid: block.data for block in blocks})
    return AuditedApp(str(place), app, read_bundle(app, source), source, confiner, node_config, python)


def trusted_app(
    bundle: NamedBundle | None,
    named: str,
    source: RunSource,
    confiner: Confiner | None,
    node_config: RunConfig = (),
    approved: frozenset[CID] = frozenset(),
    run_config: RunConfig | None = None,
    python: tuple[str, ...] = OUR_PYTHON,
) -> AuditedApp:
    """The app of the ``bundle`` that a run records, if it is the built-in app or one that is ``approved``.

    An approved app is read from ``source``. ``named`` is the run, as the auditor named it. ``bundle`` and
    ``run_config``, the run's settings, are None if this reader cannot read them: nothing is replayed then.

    ``python`` is the command of the Python that runs it.

    Raises:
        PeerError: if the app is neither, or would import a model class that nobody named here.
        protocol.blocks.cid.BlockError: if an approved app cannot be read.
    """
    if bundle is not None and bundle.app in approved:
        files = read_named_bundle(bundle, source)
        check_self_contained(files, source)
        return AuditedApp(f"the bundle {bundle.content}", bundle.app, files, source, confiner, node_config, python)
    if confiner is not None and "data-dir" not in dict(node_config):  # in its own home the app would look in vain
        node_config = (*node_config, ("data-dir", str(default_data_folder())))
    built_in = own_app(builtin_app_folder(), confiner, node_config, python)
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
