"""What is said of a loss that grows."""

from __future__ import annotations

from am.training.losses import EXPLODED, FEWEST, LossWatch


def test_a_loss_is_told_once_where_it_is_a_thousand_times_the_median() -> None:
    watch = LossWatch()
    assert [watch.exploded(loss) for loss in (1, -3, 2, -2, 2.5, 1e3)] == [None] * 6
    assert watch.exploded(-1e4) == 2.25
    assert watch.exploded(1e9) is None


def test_growth_that_is_slow_or_early_is_not_told() -> None:
    watch = LossWatch()
    assert not any(watch.exploded(1.1**k) for k in range(200))
    watch = LossWatch()
    assert [watch.exploded(x) for x in [1.0] * (FEWEST - 1) + [2 * EXPLODED]] == [None] * FEWEST
