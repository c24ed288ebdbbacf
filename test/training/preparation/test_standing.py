"""What makes a profile better than another one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.training.preparation.standing import PatchFigures, Standing

shares = st.floats(0, 1)
figures = st.builds(PatchFigures, attacked=shares, oracle=shares, defended=shares, mask_iou=shares, flagged=shares)


@given(figures, shares)
def test_more_of_anything_good_is_worth_more_and_alarms_are_worth_less(own, alarms):
    standing = Standing({"plain": own}, alarms, alarms)
    for better in (
        replace(own, mask_iou=min(1, own.mask_iou + 0.1)),
        replace(own, flagged=min(1, own.flagged + 0.1)),
        replace(own, defended=min(1, own.defended + 0.1)),
    ):
        assert Standing({"plain": better}, alarms, alarms).merit >= standing.merit
    assert replace(standing, false_alarms=alarms + 0.1).merit < standing.merit


def test_recovery_is_the_share_of_what_an_exact_mask_gives_back():
    large = PatchFigures(attacked=0.2, oracle=0.7, defended=0.6, mask_iou=0, flagged=0)
    small = PatchFigures(attacked=0.7, oracle=0.8, defended=0.7, mask_iou=0, flagged=0)
    assert Standing({"a": large, "b": small}, 0, 0).recovery == pytest.approx(0.4 / 0.6)
    # A patch that hides what it harms leaves nothing to give back.
    assert Standing({"a": replace(small, oracle=0.7)}, 0, 0).recovery == 1.0


@given(figures, figures, figures)
def test_of_several_adaptive_patches_the_worst_counts_alone(plain, one, other):
    worst = max(one, other, key=lambda own: own.harm)
    both = Standing({"plain": plain, "adaptive": one, "adaptive, always seen alike": other}, 0, 0)
    alone = Standing({"plain": plain, "adaptive": worst}, 0, 0)
    assert (both.merit, both.recovery, both.kept) == (alone.merit, alone.recovery, alone.kept)


def test_an_attacker_who_holds_back_keeps_less():
    plain = PatchFigures(attacked=0.6, oracle=0.9, defended=0.9, mask_iou=1, flagged=1)
    bold = PatchFigures(attacked=0.6, oracle=0.9, defended=0.6, mask_iou=0, flagged=0)
    shy = replace(bold, attacked=0.8, defended=0.8)
    assert Standing({"plain": plain}, 0, 0).kept is None
    assert Standing({"plain": replace(plain, attacked=1.0), "adaptive": bold}, 0, 0).kept is None
    strong, weak = (Standing({"plain": plain, "adaptive": own}, 0, 0) for own in (bold, shy))
    assert (strong.kept, weak.kept) == (1, pytest.approx(1 / 3))
    assert weak.merit > strong.merit
    # Where patches are seen in another way, hiding what is behind them may cost more: that is no harm of theirs.
    elsewhere = replace(shy, attacked=0.6, oracle=0.7, defended=0.6)
    assert Standing({"plain": plain, "adaptive": elsewhere}, 0, 0).kept == pytest.approx(1 / 3)
    assert Standing({"plain": plain, "adaptive": replace(shy, defended=0.95)}, 0, 0).kept == 0
