"""Patches: where they land, how they look, what they are optimised for, and how they are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn
from torch.nn import functional

from zmask_ros.attacks import (
    AttackError,
    EotRanges,
    PatchResult,
    Recipe,
    Step,
    Transforms,
    apply_patch,
    attack_gradient,
    load_patch,
    load_recipe,
    paste,
    paste_at_random,
    patch_corners,
    recipe_path,
    sample_transforms,
    save_patch,
    smoothness,
    smoothness_gradient,
    stack_frames,
    train_patch,
    view_homography,
)
from zmask_ros.cli.attack import command
from zmask_ros.cli.attack_sources import Sources
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import ClassInfo, Description, Segmenter

EXACT = EotRanges(scale=(1, 1), rotation_deg=(0, 0), yaw_deg=(0, 0), brightness=(0, 0), contrast=(1, 1), noise=(0, 0),
                  blur=(0, 0))


class Neighbourly(nn.Module):
    """Two classes: is a pixel's wide neighbourhood redder or bluer? So a patch reaches far beyond itself."""

    def forward(self, x: Tensor) -> Tensor:
        difference = functional.avg_pool2d(x[:, :1] - x[:, 2:], 41, stride=1, padding=20)
        return torch.cat([difference, -difference], 1) * 8


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    description = Description(
        name="neighbourly", source=Path("neighbourly.yaml"), builder="test:none",
        classes=(ClassInfo("red", (255, 0, 0)), ClassInfo("blue", (0, 0, 255))),
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), input_size=(60, 80), shallow_layers=(), deep_layers=(),
    )
    return Segmenter(description, Neighbourly().eval(), "0" * 64, torch.device("cpu"))


@pytest.fixture(scope="module")
def frames() -> list[tuple[np.ndarray, np.ndarray]]:
    image = np.full((60, 80, 3), 100, np.uint8)
    image[:, :40, 0], image[:, 40:, 2] = 150, 150
    labels = np.zeros((60, 80), np.uint8)
    labels[:, 40:] = 1
    return [(image, labels)] * 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_exact_paste_equals_plain_assignment() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    patch = rng.integers(0, 256, (10, 14, 3), np.uint8)
    pasted, mask = paste(image, patch, centre=(20.0, 15.0))
    expected = image.copy()
    expected[10:20, 13:27] = patch
    where = np.zeros((40, 50), bool)
    where[10:20, 13:27] = True
    np.testing.assert_array_equal(mask, where)
    np.testing.assert_array_equal(pasted, expected)


def test_a_quarter_turn_is_clockwise() -> None:
    patch = np.zeros((9, 9, 3), np.uint8)
    patch[:, :3] = 255
    pasted, _ = paste(np.full((9, 9, 3), 9, np.uint8), patch, centre=(4.5, 4.5), rotation_deg=90)
    assert pasted[1, 1:8].min() > 250, "the left edge has turned to the top"
    assert pasted[7, 1:8].max() < 5


def test_a_part_outside_the_image_is_cut_off() -> None:
    pasted, mask = paste(np.zeros((20, 20, 3), np.uint8), np.full((10, 10, 3), 200, np.uint8), centre=(0.0, 0.0))
    assert mask.sum() == 25
    assert (pasted[:5, :5] == 200).all()
    outside, nowhere = paste(np.zeros((20, 20, 3), np.uint8), np.full((10, 10, 3), 200, np.uint8), centre=(90.0, 0.0))
    assert not outside.any()
    assert not nowhere.any()


def test_shrinking_a_checkerboard_gives_its_mean_and_no_moire() -> None:
    board = (np.indices((60, 60)).sum(0) % 2 * 255).astype(np.uint8)
    pasted, mask = paste(np.zeros((60, 60, 3), np.uint8), np.repeat(board[..., None], 3, 2), (30.0, 30.0), scale=0.31)
    inner = pasted[26:34, 26:34].astype(float)
    assert abs(inner.mean() - 127.5) < 3
    assert inner.std() < 6
    assert 18**2 <= mask.sum() <= 19**2


@pytest.mark.parametrize("seed", range(5))
def test_sampled_patches_are_fully_inside_the_image(seed: int) -> None:
    ranges = EotRanges(scale=(0.2, 3.0), rotation_deg=(-40, 40), yaw_deg=(-60, 60))
    transforms = sample_transforms(ranges, 32, (30, 40), (90, 120), generator(seed))
    corners = patch_corners(transforms.homography, (30, 40))
    assert corners.min() > -1e-9
    assert corners[..., 0].max() < 120 + 1e-9
    assert corners[..., 1].max() < 90 + 1e-9


def test_places_reach_all_corners_of_the_image() -> None:
    transforms = sample_transforms(EXACT, 4000, (10, 10), (60, 60), generator())
    centres = transforms.homography[:, :2, 2]
    assert centres.min() >= 5
    assert centres.max() <= 55
    for corner in ([5, 5], [55, 5], [5, 55], [55, 55]):
        assert (centres - torch.tensor(corner)).norm(dim=1).min() < 6


def test_yaw_narrows_the_patch_and_makes_its_near_side_taller() -> None:
    one = torch.ones(1, dtype=torch.float64)
    corners = patch_corners(view_homography(one, one * 0, one * 40, (30, 40)), (30, 40))[0]
    top_left, top_right, bottom_right, bottom_left = corners
    assert (top_right - top_left)[0] < 36
    assert (bottom_left - top_left)[1] > (bottom_right - top_right)[1] + 2


def test_the_mask_is_where_pixels_changed() -> None:
    patch = torch.ones(3, 20, 30)
    transforms = sample_transforms(replace(EXACT, scale=(0.7, 1.3), rotation_deg=(-30, 30)), 6, (20, 30), (64, 64),
                                   generator(3))
    patched, mask = apply_patch(torch.zeros(6, 3, 64, 64), patch, transforms)
    torch.testing.assert_close((patched[:, :1] >= 0.5).float(), mask)
    assert mask.sum(dim=(1, 2, 3)).min() > 200


def test_transformations_are_reproducible_by_seed() -> None:
    patch, images = torch.rand(3, 20, 30, generator=generator(1)), torch.zeros(3, 3, 50, 60)
    runs = [apply_patch(images, patch, sample_transforms(EotRanges(), 3, (20, 30), (50, 60), generator(s)))[0]
            for s in (7, 7, 8)]
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)
    assert not torch.equal(runs[0], runs[2])


def test_brightness_contrast_and_noise_do_what_they_say() -> None:
    patch, images = torch.full((3, 20, 20), 0.7), torch.zeros(1, 3, 40, 40)
    zero, one = torch.zeros(1), torch.ones(1)
    place = torch.tensor([[[1.0, 0, 20], [0, 1, 20], [0, 0, 1]]], dtype=torch.float64)
    duller, _ = apply_patch(images, patch, Transforms(place, one * 0.1, one * 0.5, zero, zero))
    torch.testing.assert_close(duller[0, :, 15:25, 15:25], torch.full((3, 10, 10), 0.7))
    noisy, _ = apply_patch(images, patch, Transforms(place, zero, one, one * 0.05, zero))
    assert noisy[0, :, 11:29, 11:29].std().item() == pytest.approx(0.05, rel=0.1)


def test_gradients_reach_the_patch_and_only_where_it_is_seen() -> None:
    patch = torch.full((3, 20, 20), 0.5, requires_grad=True)
    zero, one = torch.zeros(1), torch.ones(1)
    half_outside = torch.tensor([[[1.0, 0, 0], [0, 1, 20], [0, 0, 1]]], dtype=torch.float64)
    patched, _ = apply_patch(torch.zeros(1, 3, 40, 40), patch, Transforms(half_outside, zero, one, zero, zero))
    (gradient,) = torch.autograd.grad(patched.sum(), patch)
    torch.testing.assert_close(gradient[:, :, 10:], torch.ones(3, 20, 10))
    assert not gradient[:, :, :9].any()


def test_the_attack_gradient_equals_the_formula() -> None:
    torch.manual_seed(0)
    patch = torch.rand(3, 4, 4, requires_grad=True)
    weights = torch.randn(5, 3 * 4 * 4)
    field, offset = torch.linspace(-1, 1, 36).reshape(1, 1, 6, 6), torch.randn(1, 5, 6, 6)

    def network() -> Tensor:
        return (weights @ patch.flatten()).reshape(1, 5, 1, 1) * field + offset

    logits = network()
    labels = torch.randint(0, 5, (1, 6, 6), dtype=torch.uint8)
    labels[0, 0] = 255
    labels[0, 2:, :3] = logits[0, :, 2:, :3].argmax(0).to(torch.uint8)
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., 5, :] = 1

    ok, wrong, correct = torch.zeros(()), torch.zeros(()), 0
    for y, x in np.ndindex(6, 6):
        if y in (0, 5):
            continue
        loss = -logits[0, :, y, x].log_softmax(0)[int(labels[0, y, x])]
        if logits[0, :, y, x].argmax() == labels[0, y, x]:
            ok, correct = ok + loss, correct + 1
        else:
            wrong = wrong + loss
    gradients = [torch.autograd.grad(group, patch, retain_graph=True)[0] for group in (ok, wrong)]
    unit = [g / g.norm() for g in gradients]

    fixed = attack_gradient(network(), labels, mask, patch, gamma=0.7)
    assert correct > 0
    assert fixed.pixel_accuracy == pytest.approx(correct / 24)
    assert fixed.loss == pytest.approx((ok + wrong).item() / 24, rel=1e-5)
    torch.testing.assert_close(fixed.direction, -(0.7 * unit[0] + 0.3 * unit[1]), rtol=1e-4, atol=1e-6)

    dynamic = attack_gradient(network(), labels, mask, patch)
    share = correct / 24
    torch.testing.assert_close(dynamic.direction, -(share * unit[0] + (1 - share) * unit[1]), rtol=1e-4, atol=1e-6)


def test_smoothness_and_its_gradient() -> None:
    patch = torch.tensor([[[0.0, 1.0], [3.0, 3.0]]])
    assert smoothness(patch).item() == pytest.approx(9 + 4 + 1 + 0)
    gradient = smoothness_gradient(patch)
    assert gradient.norm().item() == pytest.approx(1.0)
    assert smoothness(patch - 0.1 * gradient) < smoothness(patch)
    assert not smoothness_gradient(torch.full((3, 4, 4), 0.3)).any()


RECIPE = Recipe(size=(16, 20), steps=25, batch=2, lr=0.1, smoothness=0.0, eot=replace(EXACT, scale=(1.5, 2.0)), seed=4)


def accuracy_outside(segmenter: Segmenter, frame: tuple[np.ndarray, np.ndarray], patch: np.ndarray) -> float:
    image, mask = paste(frame[0], patch, (40.0, 30.0), scale=2.0)
    predicted = segmenter.logits(segmenter.prepare(image)).argmax(1)[0].numpy()
    return float((predicted == frame[1])[~mask].mean())


def test_an_optimised_patch_spoils_what_a_random_one_does_not(
    segmenter: Segmenter, frames: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    seen: list[Step] = []
    result = train_patch(segmenter, frames, RECIPE, seen.append)
    assert tuple(seen) == result.history
    assert [step.index for step in seen] == list(range(25))
    trained = (result.patch.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    random = np.random.default_rng(0).integers(0, 256, trained.shape, np.uint8)
    assert accuracy_outside(segmenter, frames[0], random) > 0.95
    assert accuracy_outside(segmenter, frames[0], trained) < 0.75


def test_a_patch_is_reproducible_printable_and_of_the_asked_size(
    segmenter: Segmenter, frames: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    recipe = replace(RECIPE, steps=4, printable=(0.2, 0.8), smoothness=0.1, eot=EotRanges())
    first, second = (train_patch(segmenter, frames, recipe) for _ in range(2))
    other = train_patch(segmenter, frames, replace(recipe, seed=5))
    assert torch.equal(first.patch, second.patch)
    assert first.history == second.history
    assert not torch.equal(first.patch, other.patch)
    assert first.patch.shape == (3, 16, 20)
    assert first.patch.min() >= 0.2
    assert first.patch.max() <= 0.8


def test_frames_without_labels_get_the_networks_own(
    segmenter: Segmenter, frames: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    big = np.kron(frames[0][0], np.ones((2, 2, 1), np.uint8))
    stack = stack_frames(segmenter, [(big, None), frames[0]])
    assert stack.images.shape == (2, 3, 60, 80)
    agreement = (stack.labels[0] == stack.labels[1]).float().mean()
    assert agreement > 0.95


def test_unusable_frames_are_refused(segmenter: Segmenter, frames: list[tuple[np.ndarray, np.ndarray]]) -> None:
    image, labels = frames[0]
    with pytest.raises(AttackError, match="no frames"):
        stack_frames(segmenter, [])
    with pytest.raises(AttackError, match=r"label 7.*2 classes"):
        stack_frames(segmenter, [(image, labels + 7)])
    with pytest.raises(AttackError, match="must agree"):
        stack_frames(segmenter, [(image, labels[1:])])


@pytest.mark.parametrize("bad", [
    {"steps": 0}, {"batch": 0}, {"lr": 0.0}, {"gamma": 1.5}, {"size": (4, 100)}, {"smoothness": -1.0},
    {"printable": (0.9, 0.1)},
])
def test_recipes_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(AttackError, match=next(iter(bad))):
        Recipe(**bad)


def test_ranges_out_of_order_are_refused() -> None:
    with pytest.raises(AttackError, match="scale"):
        EotRanges(scale=(1.2, 0.3))
    with pytest.raises(AttackError, match="place"):
        EotRanges(place=(0.0, 1.5))


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(size=(90, 120), gamma=0.8, eot=EotRanges(scale=(0.5, 0.9)), seed=12)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_json(Recipe().to_json()) == Recipe()
    for broken in ("", "{", "[1]", '{"sauce": 1}', '{"eot": {"scale": 3}}'):
        with pytest.raises(AttackError):
            Recipe.from_json(broken)


def result_of(patch: Tensor) -> PatchResult:
    return PatchResult(patch[None], (Step(0, 1.5, 0.9),))


def test_a_saved_patch_comes_back_with_its_recipe(tmp_path: Path, segmenter: Segmenter) -> None:
    png = tmp_path / "patch.png"
    patch = torch.rand(3, 12, 14, generator=generator())
    save_patch(png, result_of(patch), RECIPE, segmenter, ("street 1",))
    np.testing.assert_array_equal(load_patch(png), (patch.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    assert load_recipe(png) == RECIPE
    assert sorted(p.name for p in tmp_path.iterdir()) == ["patch.json", "patch.png", "patch.safetensors"]
    recipe_path(png).write_text("{")
    with pytest.raises(AttackError, match="not a recipe of an attack"):
        load_recipe(png)


def test_bad_places_for_a_patch_are_refused(tmp_path: Path, segmenter: Segmenter) -> None:
    patch = result_of(torch.rand(3, 8, 8))
    with pytest.raises(AttackError, match=r"patch\.png"):
        save_patch(tmp_path / "patch.jpg", patch, RECIPE, segmenter, ())
    with pytest.raises(ZmaskError, match="does not exist"):
        save_patch(tmp_path / "no" / "patch.png", patch, RECIPE, segmenter, ())
    with pytest.raises(AttackError, match="no patch"):
        load_patch(tmp_path / "patch.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ZmaskError, match="not a readable image"):
        load_patch(tmp_path / "text.png")


def test_paste_at_random_is_reproducible_and_changes_the_masked_pixels() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    patch = np.full((20, 20, 3), 255, np.uint8)
    first, second = (paste_at_random(image, patch, EotRanges(), generator(2)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1].sum() > 20
    assert first[0][first[1]].mean() > 150


DESCRIPTION = """
builder: test_attacks:Neighbourly
input_size: [60, 80]
mean: [0.5, 0.5, 0.5]
std: [0.5, 0.5, 0.5]
classes: {red: [255, 0, 0], blue: [0, 0, 255]}
layers: {shallow: [], deep: []}
"""


@pytest.fixture
def work_folder(tmp_path: Path, frames: list[tuple[np.ndarray, np.ndarray]]) -> Path:
    (tmp_path / "neighbourly.yaml").write_text(DESCRIPTION)
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), frames[0][0][..., ::-1])
    return tmp_path


def attack(work_folder: Path, *arguments: str) -> Result:
    description, patch = work_folder / "neighbourly.yaml", work_folder / "patch.png"
    fixed = ["--segmenter", str(description), "-o", str(patch), "--device", "cpu"]
    return CliRunner().invoke(command, [*fixed, *arguments])


def test_the_command_makes_a_patch_that_its_recipe_makes_again(work_folder: Path) -> None:
    images = ["--images", str(work_folder / "images"), "--json"]
    first = attack(work_folder, *images, "--steps", "3", "--batch", "2", "--size", "16x20", "--scale", "0.5", "1.5",
                   "--seed", "6")
    assert first.exit_code == 0, first.output
    outcome = json.loads(first.stdout)
    assert outcome["steps"] == 3
    assert outcome["segmenter"] == "neighbourly"
    patch = load_patch(work_folder / "patch.png")
    assert patch.shape == (16, 20, 3)
    recipe = load_recipe(work_folder / "patch.png")
    assert recipe == replace(Recipe(size=(16, 20), steps=3, batch=2, seed=6), eot=EotRanges(scale=(0.5, 1.5)))

    (work_folder / "patch.json").rename(work_folder / "again.json")
    again = attack(work_folder, *images, "--recipe", str(work_folder / "again.json"))
    assert again.exit_code == 0, again.output
    np.testing.assert_array_equal(load_patch(work_folder / "patch.png"), patch)


def test_the_command_mixes_sources_and_counts_frames(work_folder: Path) -> None:
    sources = Sources(None, (3,), work_folder / "images", (), None, frames=2)
    taken = list(sources)
    assert len(taken) == 2 + 1
    assert [truth is None for _, truth in taken] == [False] * 2 + [True]
    assert len(sources.describe()) == 2


@pytest.mark.parametrize(("arguments", "sentence"), [
    ([], "at least one source"),
    (["--images", "nowhere"], "no images"),
    (["--images", "nowhere", "--recipe", "nowhere.json"], "cannot be read"),
    (["--images", "nowhere", "--steps", "0"], "steps"),
    (["--camvid", "nowhere"], "no CamVid images"),
    (["--bag", "nowhere"], "nowhere"),
])
def test_the_command_refuses_bad_input_with_a_sentence(work_folder: Path, arguments: list[str], sentence: str) -> None:
    result = attack(work_folder, *arguments)
    assert isinstance(result.exception, ZmaskError)
    assert sentence in str(result.exception)
    assert not (work_folder / "patch.png").exists()
