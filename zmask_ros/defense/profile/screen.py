"""The screening: a small head that looks at every frame first, and says which ones the whole analysis has to see.

An attentional cascade of two stages (Viola and Jones, CVPR 2001): most frames of a drive are clean, and most of those
look so at a glance. The glance is an evidence head of its own, on a grid half as fine and on few layers. Whoever evades
it has not evaded the defence: `streaming` has the whole analysis look again and again.
"""

from __future__ import annotations

from dataclasses import replace

from zmask_ros.defense.profile.profile import Profile, Screen, Threshold, statistics_key, without_head, without_screen

COARSER = 2
"""How many times as wide the screening's cells are as the analysis's."""


def with_screening(profile: Profile, alone: Profile, threshold: Threshold) -> Profile:
    """``profile`` with the head of ``alone`` for its screening: the inverse of `screening_profile`."""
    assert alone.head is not None
    layers = alone.head.branch.layers
    own = {statistics_key("screen", name): alone.statistics[statistics_key("head", name)] for name in layers}
    plain = without_screen(profile)
    screened = replace(plain, screen=Screen(alone.head, threshold), statistics=plain.statistics | own)
    shapes = plain.binding.shapes | {name: alone.binding.shapes[name] for name in layers}
    return replace(screened, binding=replace(plain.binding, shapes=shapes))


def screening_profile(profile: Profile) -> Profile:
    """The screening of ``profile``, which has one, as a profile of its own: for its training, and for its attackers."""
    assert profile.screen is not None
    head = profile.screen.head
    own = {
        statistics_key("head", name): profile.statistics[statistics_key("screen", name)] for name in head.branch.layers
    }
    plain = coarser(profile)
    shapes = {name: profile.binding.shapes[name] for name in (*plain.bound_layers, *head.branch.layers)}
    return replace(
        plain,
        head=head,
        threshold=profile.screen.threshold,
        statistics=plain.statistics | own,
        binding=replace(profile.binding, shapes=shapes),
    )


def coarser(profile: Profile) -> Profile:
    """``profile`` without its heads, on the screening's grid. Its masks end anywhere, for nobody looks at them."""
    grown = replace(profile, growth=replace(profile.growth, edge=None), precaution=None)
    return replace(without_head(grown), grid_fraction=COARSER * profile.grid_fraction)
