"""Which points of a long curve are drawn."""

from __future__ import annotations

from peer.report.facts import MAX_LINES
from peer.report.points import MAX_POINTS, Points


def test_of_many_points_the_extremes_stay() -> None:
    with Points(1) as points:
        for number in range(1, 5_001):
            value = {1_234: -9.0, 4_321: 9.0}.get(number, 0.0)
            points.put("train", "loss", "alice", (number, number), value)
        (curve,) = points.curves()
    (line,) = curve.clients
    assert len(line.points) <= MAX_POINTS
    assert {(1_234, -9.0), (4_321, 9.0)} <= set(line.points)
    assert [at for at, _ in line.points] == sorted(at for at, _ in line.points)
    assert any("smallest and the largest" in note for note in curve.notes)


def test_many_clients_are_a_band() -> None:
    with Points(1) as points:
        for number in (1, 2):
            for client in range(MAX_LINES + 5):
                points.put("train", "loss", f"client-{client}", (number, number), float(client * number))
        (curve,) = points.curves()
    assert curve.clients == ()
    assert curve.band == ((1, 0.0, MAX_LINES + 4.0), (2, 0.0, 2 * (MAX_LINES + 4.0)))


def test_what_is_not_finite_is_a_gap_and_is_counted() -> None:
    with Points(1) as points:
        for number, value in enumerate([1.0, float("nan"), 10**400, 2.0], 1):
            points.put("train", "loss", "alice", (number, number), value)
        (curve,) = points.curves()
    assert curve.clients[0].points == ((1, 1.0), (2, None), (3, None), (4, 2.0))
    assert any(note.startswith("2 values") for note in curve.notes)


def test_curves_over_the_most_are_counted_and_not_kept() -> None:
    with Points(2) as points:
        for name in ("a", "b", "c", "d"):
            points.put("train", name, "alice", (1, 1), 1.0)
        assert [curve.name for curve in points.curves()] == ["a", "b"]
        assert len(points.left_out) == 2
