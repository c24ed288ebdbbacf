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


def test_what_is_better_against_others_makes_up_for_nothing_against_who_knows_it():
    # Of a published network, prepared for 20 minutes: its merit was higher by a hair, and who knew it kept 56 %.
    plain = PatchFigures(attacked=0.19, oracle=0.78, defended=0.78, mask_iou=0.92, flagged=1.0)
    others = PatchFigures(attacked=0.45, oracle=0.71, defended=0.62, mask_iou=0.35, flagged=0.33)
    knowing = PatchFigures(attacked=0.60, oracle=0.76, defended=0.60, mask_iou=0.0, flagged=0.0)
    fitted = Standing({"plain": plain, "adaptive, against other heads": others, "adaptive": knowing}, 0, 0)
    prepared = Standing(
        {
            "plain": replace(plain, defended=0.79, mask_iou=0.96),
            "adaptive, against other heads": replace(others, defended=0.70, mask_iou=0.93, flagged=1.0),
            "adaptive": replace(knowing, attacked=0.40, defended=0.42),
        },
        0,
        0,
    )
    assert prepared.merit > fitted.merit and not prepared.replaces(fitted)
    assert prepared.shortcoming(fitted).endswith("who knows it keeps 58% of a plain patch's damage, instead of 27%")
    assert fitted.replaces(fitted) and not fitted.replaces(prepared)
    # So much another attack of the same recipe differs.
    nearly = replace(prepared, by_kind=prepared.by_kind | {"adaptive": replace(knowing, defended=0.58)})
    assert nearly.replaces(fitted)
