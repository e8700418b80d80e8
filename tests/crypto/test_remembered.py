"""`crypto.remembered`: the newest, and no more than fit."""

from __future__ import annotations

from crypto.remembered import Remembered


def test_the_newest_half_at_least_is_remembered() -> None:
    remembered = Remembered[int](10)
    for key in range(1, 101):
        remembered.add(key, key)
        assert [remembered.get(each) for each in range(max(1, key - 4), key + 1)] == list(
            range(max(1, key - 4), key + 1)
        )
    assert len(remembered) <= 10


def test_what_is_older_is_forgotten() -> None:
    remembered = Remembered[int](10)
    for key in range(1, 101):
        remembered.add(key, key)
    assert remembered.get(90) is None


def test_large_values_take_the_place_of_many() -> None:
    remembered = Remembered[str](10)
    for key in range(4):
        remembered.add(key, "large", size=5)
    assert [remembered.get(key) for key in range(4)] == [None, None, "large", "large"]
