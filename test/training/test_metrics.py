"""Ranks, votes and intervals: small functions against slow and obvious ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zmask_ros.training.metrics import auc, best_iou, rate_found
from zmask_ros.training.thresholds import FOLDS, clean_threshold, rate_interval

few_values = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(few_values, few_values)
def test_the_area_is_the_share_of_pairs_in_order(attacked, clean):
    pairs = [1.0 if a > c else 0.5 if a == c else 0.0 for a in attacked for c in clean]
    assert auc(torch.tensor(attacked), torch.tensor(clean)) == pytest.approx(sum(pairs) / len(pairs))


@settings(deadline=None, max_examples=60)
@given(few_values, few_values, st.sampled_from([0.0, 0.01, 0.2, 0.5]))
def test_found_at_a_rate_is_what_the_best_allowed_threshold_finds(attacked, clean, rate):
    allowed = [t for t in clean if sum(c > t for c in clean) <= rate * len(clean)]
    expected = sum(a > min(allowed) for a in attacked) / len(attacked)
    assert rate_found(torch.tensor(attacked), torch.tensor(clean), rate) == pytest.approx(expected)


def test_the_best_overlap_is_that_of_the_best_cut():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 20, 20, generator=generator) < 0.2
    heat = torch.rand(3, 20, 20, generator=generator) + 0.5 * truth
    cuts = heat[truth].tolist()
    tried = [((heat >= cut) & truth).sum() / ((heat >= cut) | truth).sum() for cut in cuts]
    assert best_iou(heat, truth) == pytest.approx(float(max(tried)), abs=0.01)
    assert best_iou(truth.float(), truth) == 1.0


def test_the_interval_of_a_threshold_holds_the_rate_that_new_frames_show():
    generator = torch.Generator().manual_seed(1)
    threshold = clean_threshold(torch.empty(400).exponential_(generator=generator).tolist(), 0.05)
    later = torch.empty(100_000).exponential_(generator=generator)
    assert threshold.interval is not None
    assert threshold.interval.frames == threshold.frames == 400
    assert threshold.interval.low <= (later > threshold.value).double().mean().item() <= threshold.interval.high


def test_a_stretch_unlike_all_others_widens_the_interval():
    alike, stranger = [0.1 * (i % 7) for i in range(80)], [5.0 + i for i in range(20)]
    honest, fooled = rate_interval(alike * 2, 0.01), rate_interval(alike + stranger, 0.01)
    assert honest is not None and fooled is not None
    assert honest.exceeded == 0 and honest.low == 0
    assert (1 - honest.high) ** honest.frames == pytest.approx((1 - honest.confidence) / 2, abs=1e-9)
    assert fooled.exceeded > 0 and fooled.low > 0.01


@pytest.mark.parametrize(("count", "exceeded"), [(4, 40), (2, 0)])
def test_whole_drives_are_left_out_for_the_interval_where_there_are_enough(count, exceeded):
    drives = [index % count for index in range(40 * count)]
    scores = [0.01 * (index % 7) + 5.0 * (drive == 1) for index, drive in enumerate(drives)]
    interval = rate_interval(scores, 0.01, drives)
    assert interval is not None
    assert interval.exceeded == exceeded


def test_too_few_frames_have_no_interval():
    assert rate_interval([0.1] * (2 * FOLDS - 1), 0.01) is None


def test_where_patches_are_far_away_the_threshold_is_as_far_from_them_as_from_clean_frames() -> None:
    scores, drives = [0.01 * (index % 10) for index in range(60)], [index // 20 for index in range(60)]
    alone = clean_threshold(scores, 0.01, drives)
    raised = clean_threshold(scores, 0.01, drives, patched=4.0)
    assert raised.value / alone.value == pytest.approx(4.0 / raised.value) and raised.value > 2 * alone.value
    # Patches that score like clean frames, or hardly more, change nothing.
    for ratio in (0.5, 1.9):
        assert clean_threshold(scores, 0.01, drives, patched=ratio * alone.value) == alone
    # The interval is of the threshold that is raised: a drive that scores higher than the others stays below it.
    stranger = [*scores[:40], *(0.3 + score for score in scores[40:])]
    assert rate_interval(stranger, 0.01, drives).exceeded == 20
    assert rate_interval(stranger, 0.01, drives, patched=4.0).exceeded == 0


def test_a_drive_above_the_others_is_no_tail_of_theirs() -> None:
    generator = torch.Generator().manual_seed(2)
    drives = [drive for drive in range(20) for _ in range(20)]
    tails = (0.1 * torch.empty(len(drives)).exponential_(generator=generator)).tolist()
    scores = [tail + 3.0 * (drive == 5) for tail, drive in zip(tails, drives, strict=True)]
    by_drive, pooled = clean_threshold(scores, 0.001, drives).value, clean_threshold(scores, 0.001).value
    later = 3.0 + 0.1 * torch.empty(100_000).exponential_(generator=generator)
    assert 1e-4 < (later > by_drive).double().mean().item() < 1e-2
    assert pooled > by_drive + 2.0
    assert clean_threshold(tails[:20], 0.001, drives[:20]).value == clean_threshold(tails[:20], 0.001).value
