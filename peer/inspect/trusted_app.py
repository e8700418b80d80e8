"""Which app an auditor lets run. Code is never run because a run record names it (design section 9)."""

from __future__ import annotations

from pathlib import Path

from peer.errors import ExitCode, PeerError
from peer.inspect.replay import AuditedApp
from peer.inspect.sources import RunSource
from protocol.blocks import CID, BlockError
from protocol.bundle import MAX_SIZE
from strategy.builtin_app import builtin_app_folder
from strategy.bundle import bundle_folder


def trusted_app(
    recorded: CID | None,
    folder: Path | None,
    data_dir: Path | None,
    source: RunSource,
    approved: frozenset[CID] = frozenset(),
) -> AuditedApp:
    """The app in the auditor's ``folder``; without one, the built-in app or one that is ``approved``, where that is the
    one that is recorded. An approved one is read from ``source``.

    Raises:
        PeerError: where it is none of them, or ``folder`` cannot be bundled.
        protocol.blocks.MissingBlock: where ``source`` lacks an approved app.
    """
    node_config = () if data_dir is None else (("data-dir", str(data_dir.expanduser().absolute())),)
    if folder is None and recorded is not None and recorded in approved:
        blocks = {block.cid: block.data for block in source.content(recorded, 2 * MAX_SIZE)}
        return AuditedApp(f"the bundle {recorded}", recorded, blocks, node_config)
    built_in = folder is None
    chosen = builtin_app_folder() if folder is None else folder.expanduser().absolute()
    try:
        bundle, bundled = bundle_folder(chosen)
    except (BlockError, OSError) as error:
        raise PeerError(f"the app in {chosen} cannot be used: {error}", code=ExitCode.WRONG_USE) from error
    if built_in and recorded is not None and bundle != recorded:
        raise PeerError(
            f"the run is of the app bundle {recorded}, which is not the built-in app of this version",
            mend=f"name the app's folder with --app DIR; or read it (peer app show {recorded}), "
            f"then let it run here (peer app approve {recorded})",
            code=ExitCode.WRONG_USE,
        )
    return AuditedApp(str(chosen), bundle, {block.cid: block.data for block in bundled}, node_config)
