"""Training of the fusion block on made-up evidence whose structure is known."""

import pytest
import torch

from zmask_ros.defense.analyzer import Evidence
from zmask_ros.defense.evidence.fusion import FusionBlock
from zmask_ros.defense.masking.growth import Growth
from zmask_ros.training.examples import Examples
from zmask_ros.training.fusion import balanced_pixels, mask_loss, train_fusion, training_loss
from zmask_ros.training.fusion_search import PATCH_SHARES, SEEDS, candidate_growths, search_fusion
from zmask_ros.training.metrics import figures_of, mean_iou
from zmask_ros.training.thresholds import clean_fusion, opening_at

GRID = (15, 20)
GROWTH = Growth(0.3, (3, 3))
THRESHOLD = 0.5


def made_up(seed: int, scenes: int = 16) -> Examples:
    """Adversarial patches are hot in S and in D, benign ones as hot in S but cold in D."""
    generator = torch.Generator().manual_seed(seed)
    evidences, truths, benign = [], [], []
    for index in range(3 * scenes):
        shallow, deep = (torch.rand(1, 1, *GRID, generator=generator) * 0.6 + 0.2 for _ in range(2))
        covered = torch.zeros(2, 1, 1, *GRID)
        row, column = (int(torch.randint(0, n - 6, (1,), generator=generator)) for n in GRID)
        where = (0, 0, slice(row, row + 6), slice(column, column + 6))
        if index % 3:
            shallow[where] += 1.5
            covered[index % 3 - 1][where] = 1
        if index % 3 == 1:
            deep[where] += 1.5
        evidences.append(Evidence(shallow, deep))
        truths.append(covered[0])
        benign.append(covered[1])
    shallow, deep = (torch.cat([getattr(own, name) for own in evidences]).float() for name in ("shallow", "deep"))
    return Examples(shallow, deep, torch.cat(truths), torch.cat(benign), torch.arange(3 * scenes) // 3)


def start_of(examples: Examples) -> torch.Tensor:
    clean = examples.where(examples.clean)
    return clean_fusion([Evidence(clean.shallow, clean.deep)])


@pytest.fixture(scope="module")
def training() -> Examples:
    return made_up(0)


@pytest.fixture(scope="module")
def blocks(training):
    return search_fusion(training, (start_of(training),), candidate_growths(GROWTH), epochs=25)


def test_examples_know_what_they_hold(training):
    kinds = torch.stack([training.clean, training.attacked, training.with_benign])
    assert kinds.sum(0).tolist() == [1] * len(training)
    assert kinds.sum(1).tolist() == [16, 16, 16]
    assert not training.hottest[training.attacked].any()
    inside = training.benign > 0
    assert training.hottest[training.with_benign].sum() == (training.hottest & inside)[training.with_benign].sum() > 0


def test_every_kind_has_its_weight(training):
    pixels = balanced_pixels(training, 0.2)
    cells = training.truth[0].numel()
    by_frame = pixels.mask_weight.view(-1, cells)
    assert (pixels.mask_weight * pixels.truth).sum().item() == pytest.approx(0.2, rel=1e-4)
    assert by_frame[training.clean].sum().item() == pytest.approx(0.8 / 3, rel=1e-4)
    assert by_frame[training.with_benign].sum().item() == pytest.approx(0.8 / 3, rel=1e-4)
    assert pixels.gate_weight.sum().item() == pytest.approx(1, rel=1e-4)


def test_training_lowers_the_loss_and_keeps_hotter_more_open(training):
    pixels, start = balanced_pixels(training), start_of(training)
    scalars = train_fusion(pixels, start, seed=1, epochs=30)
    assert training_loss(scalars, pixels) < training_loss(start, pixels)
    assert mask_loss(scalars, pixels) < 0.3
    assert (scalars[0::2] > 0).all()
    fusion, heat = FusionBlock(scalars), torch.linspace(0, 4, 50)
    constant = torch.full_like(heat, 1.0)
    assert (fusion(heat, constant).diff() >= 0).all()
    assert (fusion(constant, heat).diff() >= 0).all()


def test_the_same_seed_gives_the_same_block(training):
    pixels, start = balanced_pixels(training), start_of(training)
    first, second, other = (train_fusion(pixels, start, seed, epochs=3) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_gate_follows_the_deep_evidence(blocks):
    figures = figures_of(blocks[0].scalars, blocks[0].growth, THRESHOLD, made_up(7))
    assert figures.gate_in_patches > 0.7
    assert figures.gate_on_hottest < 0.3


def test_the_chosen_block_masks_patches_that_it_has_not_seen(blocks, training):
    assert len(blocks) == len(PATCH_SHARES) * SEEDS + 1
    assert [b.expected_iou for b in blocks] == sorted((b.expected_iou for b in blocks), reverse=True)
    unseen = made_up(7)
    after = figures_of(blocks[0].scalars, blocks[0].growth, THRESHOLD, unseen)
    assert after.frame_auc == 1.0
    assert after.found_at_1_permille == 1.0
    assert after.mask_iou > 0.9
    before = figures_of(start_of(training), GROWTH, THRESHOLD, unseen)
    assert after.pixel_loss < before.pixel_loss


def test_what_refinement_cuts_off_is_no_loss():
    heat, truth = torch.full((1, 1, *GRID), 0.1), torch.zeros(1, 1, *GRID)
    heat[..., 3:9, 3:9], truth[..., 4:8, 4:8] = 5.0, 1.0
    attacked = Examples(heat, heat, truth, torch.zeros_like(truth), torch.zeros(1, dtype=torch.int64))
    block = opening_at(1.0, 1.0)
    assert mean_iou(block, Growth(1.0, (1, 1)), attacked) == pytest.approx(16 / 36)
    assert mean_iou(block, Growth(1.0, (1, 1)), attacked, spared=1) == 1.0


def test_a_block_that_finds_nothing_has_no_worth(training):
    closed = torch.tensor([1.0, -4.0, 1.0, -9.0, 1.0, -4.0, 1.0, -9.0])
    blocks = search_fusion(training, (closed,), candidate_growths(GROWTH), epochs=1)
    untrained = next(block for block in blocks if block.patch_share == 0)
    assert untrained.expected_iou < blocks[0].expected_iou


def test_without_one_of_the_two_there_is_nothing_to_tell_apart(training):
    for part in (training.attacked, ~training.attacked):
        with pytest.raises(ValueError, match="one of the two is missing"):
            balanced_pixels(training.where(part))
