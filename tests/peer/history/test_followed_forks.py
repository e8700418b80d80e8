"""A run that is read as it grows, and goes on from before what was read: a takeover has left out a tail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from chains import SECOND
from inspected_runs import WrittenRun

from peer.history.chain_follower import ChainFollower, LeftBehind
from peer.history.run_sources import CarSource
from peer.web.run_view import RunView
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID
from protocol.federation.manifest import PUBLIC


class Forked:
    """A run of which the first server wrote two rounds, and the second took over after the first of them."""

    def __init__(self) -> None:
        self.lost, self.won = WrittenRun(), WrittenRun()
        for run in (self.lost, self.won):
            run.exchange(1)
        self.before = self.won.head
        self.lost.exchange(2)
        self.won.scribe.lead(leader=SECOND)
        self.won.exchange(2)

    @contextlib.contextmanager
    def followed(self, folder: Path, view: RunView | None = None) -> Iterator[ChainFollower]:
        """A follower that has read all of the lost tail."""
        car = folder / "both.car"
        car.write_bytes(b"".join(write_car([self.won.head], [*self.lost.blocks, *self.won.blocks])))
        with contextlib.closing(CarSource(car)) as source:
            follower = ChainFollower(
                self.lost.scribe.first.cid, source, PUBLIC, on_step=(lambda *_: None) if view is None else view.stepped
            )
            assert [each.number for each in follower.follow(self.lost.head)] == [1, 2]
            yield follower


def test_who_reads_record_by_record_is_told(tmp_path: Path) -> None:
    forked = Forked()
    with forked.followed(tmp_path) as follower, pytest.raises(LeftBehind):
        list(follower.follow(forked.won.head))


def test_exchanges_that_are_not_what_they_were_come_again(tmp_path: Path) -> None:
    forked = Forked()
    with forked.followed(tmp_path) as follower:
        again = list(follower.follow_over_forks(forked.won.head))
        assert [(each.number, each.height) for each in again] == [(2, 4)]
        assert (follower.chain.head, follower.chain.term) == (forked.won.head, 2)


def test_a_head_that_was_cut_back_brings_nothing_again(tmp_path: Path) -> None:
    forked = Forked()
    with forked.followed(tmp_path) as follower:
        assert list(follower.follow_over_forks(forked.before)) == []
        assert follower.chain.height == 2


def test_a_page_says_who_leads_and_why_that_changed(tmp_path: Path) -> None:
    forked, view = Forked(), RunView(CID.parse(str(WrittenRun().run)))
    car = tmp_path / "won.car"
    car.write_bytes(b"".join(write_car([forked.won.head], forked.won.blocks)))
    with contextlib.closing(CarSource(car)) as source:
        follower = ChainFollower(forked.won.scribe.first.cid, source, PUBLIC, on_step=view.stepped)
        list(follower.follow(forked.won.head))
    summary = view.summary()
    assert summary["leader"] == "second server"
    assert [(each["term"], each["since"]) for each in summary["reigns"]] == [(1, 0), (2, 3)]
    assert [at.term for _, at in view.heads_of_leaders()] == [1, 2]
