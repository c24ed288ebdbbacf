"""Recipes of attacks: their ranges, and how they survive JSON."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from support import ROOT
from zmask_ros.attacks import (
    EotRanges,
    Recipe,
)
from zmask_ros.attacks.recipe import LATER
from zmask_ros.errors import AttackError


@pytest.mark.parametrize(
    "entries",
    [
        {"size": [100]},
        {"size": [100, 100.5]},
        {"size": 100},
        {"steps": 2.5},
        {"steps": "9"},
        {"eot": [1]},
        {"eot": {"scale": [1]}},
        {"eot": {"scale": 1}},
        {"printable": [0.1]},
        [],
        3,
    ],
)
def test_a_recipe_that_is_none_is_refused_with_a_sentence(entries: object) -> None:
    with pytest.raises(AttackError, match="recipe"):
        Recipe.from_json(json.dumps(entries))


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"batch": 0},
        {"lr": 0.0},
        {"gamma": 1.5},
        {"size": (4, 100)},
        {"smoothness": -1.0},
        {"printable": (0.9, 0.1)},
        {"objective": "x"},
        {"objective": "hiding"},
        {"target": "red"},
        {"beta": 2.0},
        {"non_printability": -1.0},
        {"auxiliary": -1.0},
        {"patches": 0},
        {"decoys": 1},
        {"adaptive": "x"},
        {"adaptive_weight": 1.5},
        {"restarts": 0},
    ],
)
def test_recipes_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(AttackError, match=next(iter(bad))):
        Recipe(**bad)


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(
        size=(90, 120),
        gamma=0.8,
        eot=EotRanges(scale=(0.5, 0.9)),
        seed=12,
        objective="hiding",
        target="Car",
        beta=0.7,
        patches=3,
        decoys=1,
        adaptive="both",
        restarts=2,
    )
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_json(Recipe().to_json()) == Recipe()
    for broken in ("", "{", "[1]", '{"sauce": 1}', '{"eot": {"scale": 3}}'):
        with pytest.raises(AttackError):
            Recipe.from_json(broken)


def test_recipes_from_before_there_were_objectives_mean_what_they_did() -> None:
    old = """{"size": [160, 160], "steps": 210, "batch": 4, "lr": 0.1, "gamma": null, "smoothness": 0.02, "seed": 0,
             "eot": {"place": [0.3, 0.7], "scale": [0.65, 1.05], "yaw_deg": [-8.0, 8.0], "noise": [0.0, 0.02]}}"""
    eot = EotRanges(place=(0.3, 0.7), scale=(0.65, 1.05), yaw_deg=(-8, 8), noise=(0, 0.02))
    assert (eot.pitch_deg, eot.gamma, eot.jpeg) == ((0, 0), (1, 1), (100, 100))
    expected = Recipe(
        (160, 160),
        210,
        4,
        0.1,
        None,
        0.02,
        (0.03, 0.97),
        eot,
        0,
        "untargeted",
        None,
        1.0,
        0.0,
        None,
        0.0,
        None,
        1,
        0,
        "none",
        0.5,
        1,
    )
    assert Recipe.from_json(old) == expected
    assert not expected.knows_the_defense
    shipped = ROOT / "tools" / "patch_recipe.json"
    assert Recipe.from_json(shipped.read_text()).steps > 100


def test_entries_that_came_later_stand_in_json_only_where_they_are_used() -> None:
    # By these texts finished work is known again.
    known = set(json.loads(Recipe().to_json()))
    assert known.isdisjoint(LATER) and known | set(LATER) == {own.name for own in fields(Recipe)}
    used = Recipe(optimizer="apgd", loss="ratio", adaptive="flag", evasion="constraint", margin=0.4, folded=True)
    assert set(json.loads(used.to_json())) - known == set(LATER) - {"lengths_every"}
    assert Recipe.from_json(used.to_json()) == used


def test_the_score_is_bound_by_the_attacker_who_wants_to_stay_below_it() -> None:
    for adaptive in ("none", "mask", "both", "overmask"):
        with pytest.raises(AttackError, match="flag and stream"):
            Recipe(adaptive=adaptive, evasion="constraint")
