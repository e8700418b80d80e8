"""`peer.confinement.confined`: what is granted stays what the owner meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer.base.errors import PeerError
from peer.confinement.confined import Confiner, confiner
from peer.confinement.means import tried
from peer.confinement.rules import Grants
from peer.home.home import Home

needs_means = pytest.mark.skipif(tried().found is None, reason="nothing here confines a process")


@pytest.fixture
def granted(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "sub" / "set"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def confines(tmp_path: Path, granted: Path) -> Confiner:
    (tmp_path / "home").mkdir()
    return confiner(Grants(read=(granted,), write=(tmp_path / "data",)), Home(tmp_path / "home"))


@needs_means
def test_a_folder_that_was_swapped_for_a_link_is_granted_no_more(
    confines: Confiner, granted: Path, tmp_path: Path
) -> None:
    (tmp_path / "home" / "set").mkdir()
    granted.parent.rename(tmp_path / "data" / "away")
    granted.parent.symlink_to(tmp_path / "home")

    with pytest.raises(PeerError, match="not any more what was granted"):
        confines.confinement([], [tmp_path], tmp_path)


@needs_means
def test_a_folder_that_stays_is(confines: Confiner, granted: Path, tmp_path: Path) -> None:
    (granted / "new").write_text("x")

    assert granted in confines.confinement([], [tmp_path], tmp_path).read
