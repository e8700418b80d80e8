"""Which app an auditor lets run. Code is never run because a run record names it (design section 9)."""

from __future__ import annotations

from pathlib import Path

from peer.errors import ExitCode, PeerError
from peer.inspect.replay import AuditedApp
from protocol.blocks import CID, BlockError
from strategy.builtin_app import builtin_app_folder
from strategy.bundle import bundle_folder


def trusted_app(recorded: CID | None, folder: Path | None, data_dir: Path | None) -> AuditedApp:
    """The app in the auditor's ``folder``; without one, the built-in app, where that is the one that is recorded.

    Raises:
        PeerError: where it is not, or ``folder`` cannot be bundled.
    """
    built_in = folder is None
    chosen = builtin_app_folder() if folder is None else folder.expanduser().absolute()
    try:
        bundle, blocks = bundle_folder(chosen)
    except (BlockError, OSError) as error:
        raise PeerError(f"the app in {chosen} cannot be used: {error}", code=ExitCode.WRONG_USE) from error
    if built_in and recorded is not None and bundle != recorded:
        raise PeerError(
            f"the run is of the app bundle {recorded}, which is not the built-in app of this version",
            mend="name the folder of that app, as its author gave it to you, with --app DIR",
            code=ExitCode.WRONG_USE,
        )
    node_config = () if data_dir is None else (("data-dir", str(data_dir.expanduser().absolute())),)
    return AuditedApp(str(chosen), bundle, {block.cid: block.data for block in blocks}, node_config)
