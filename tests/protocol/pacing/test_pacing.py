"""`protocol.pacing`: how often something may happen."""

from __future__ import annotations

from protocol.pacing.at_most_every import REMEMBERED, AtMostEvery
from protocol.pacing.token_bucket import TokenBucket


def test_it_may_happen_again_for_the_same_key_after_the_time_and_for_another_at_once() -> None:
    pace = AtMostEvery(2.0)
    asked = [("a", 0.0), ("a", 1.9), ("b", 1.9), ("a", 2.0), ("b", 3.8), ("b", 3.9)]
    assert [pace.take(key, now) for key, now in asked] == [True, False, True, True, False, True]


def test_what_is_not_allowed_does_not_put_off_what_is() -> None:
    pace = AtMostEvery(2.0)
    assert [pace.take("a", now) for now in (0.0, 1.0, 1.9, 2.0)] == [True, False, False, True]


def test_any_number_of_keys_takes_little_memory() -> None:
    pace = AtMostEvery(1000.0)
    assert all(pace.take(key, 0.0) for key in range(2 * REMEMBERED))
    assert len(pace._at) <= REMEMBERED + 1


def test_a_bucket_is_full_at_first_and_fills_again() -> None:
    bucket = TokenBucket(2, 1.0)
    assert [bucket.take(now) for now in (5.0, 5.0, 5.0, 6.0, 6.0)] == [True, True, False, True, False]
    assert not bucket.take(6.5)
    assert bucket.take(60.0, times=2)
    assert not bucket.take(60.0)
