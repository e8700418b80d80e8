"""Finds the model that ``peer start --initial-model HEAD|FILE`` names, with which a new run begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peer.base.errors import ExitCode, PeerError
from peer.history.named_runs import NoSuchRun, named_cid
from protocol.blocks.cid import CID, BlockError
from strategy.apps.builtin_app import check_initial_model

if TYPE_CHECKING:
    from peer.run.session import Session
    from strategy.models.initial_model import InitialModel

_TIMEOUT: Final = 30.0
"""Seconds to look for one block of the run that has the model."""


def initial_model(session: Session, named: str, run_config: Mapping[str, object]) -> InitialModel:
    """The model in the file ``named``, or the newest model of the run with the head ``named``.

    The chain of that run has to be sound. The run may be open, and a replay of it may have failed.

    Raises:
        PeerError: if there is no model, or it does not fit the new run's model.
    """
    from strategy.models.model_files import NoModel

    try:
        model = _in_file(Path(named).expanduser()) if _is_file(named) else _of_run(session, named)
        check_initial_model(run_config, model.shapes)
    except (NoModel, ValueError) as error:
        raise _unusable(named, str(error), "name a model with the same --model and --dataset") from error
    except OSError as error:
        raise _unusable(named, error.strerror or str(error), "name another file") from error
    except BlockError as error:
        fix = "see what else is missing or damaged: peer audit HEAD"
        raise _unusable(named, str(error), fix, ExitCode.UNFINISHED) from error
    return model


def _is_file(named: str) -> bool:
    from strategy.models.model_files import ModelFormat

    return Path(named).suffix in list(ModelFormat) or Path(named).is_file()


def _in_file(path: Path) -> InitialModel:
    from strategy.models.initial_model import InitialModel
    from strategy.models.model_files import opened_model

    with opened_model(path) as tensors:
        return InitialModel.read(tensors)


def _of_run(session: Session, named: str) -> InitialModel:
    from peer.audit.audit import Audit
    from peer.audit.run_models import RunModels
    from peer.history.run_sources import EngineSource
    from peer.history.scratch import Scratch
    from peer.home.acks_grants_proofs import beside_head
    from peer.home.federations import FederationStore
    from strategy.models.initial_model import InitialModel
    from strategy.models.model_files import content_tensors

    cid = _head(session, named)
    known = session.journal.head_of(cid) or session.journal.run_of(cid)
    head, height = (known.head, known.height) if known else (cid, None)
    source = EngineSource(session.engine, _TIMEOUT)
    reader = session.reader(session.journal.beside(known.run) if known else ())
    with Scratch() as scratch:
        audit = Audit(
            head,
            source,
            scratch,
            known=FederationStore(session.home).all(),
            reader=reader,
            beside=beside_head(session.home, head, source),
            head_height=height,
            with_contents=False,
        )
        found = RunModels(audit, scratch).newest()
        return InitialModel.read(content_tensors(found.content, source, found.key))


def _head(session: Session, named: str) -> CID:
    try:
        return named_cid(session.home, named)
    except NoSuchRun as error:
        raise _unusable(
            named,
            f"it is not the name of a .safetensors, .npz or .pt file, and {error}",
            "peer ls shows this home's runs; peer model HEAD -o FILE writes a model to a file",
        ) from error


def _unusable(named: str, why: str, fix: str, code: ExitCode = ExitCode.WRONG_USE) -> PeerError:
    return PeerError(f"--initial-model {named} cannot be used: {why}", fix=fix, code=code)
