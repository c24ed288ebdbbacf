"""Running means of a camera's frames, and the channels' means of a forward pass."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from zmask_ros.defense import LayerError
from zmask_ros.defense.drift.observation import STRETCH_FRAMES, ChannelMeans, DriftState


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=STRETCH_FRAMES))
def test_the_first_frames_weigh_alike(values):
    state = DriftState()
    for value in values:
        state = state.observed({"a": torch.tensor([value], dtype=torch.float64)})
    assert state.frames == len(values)
    assert float(state.means["a"]) == pytest.approx(sum(values) / len(values), abs=1e-9)


def test_older_frames_are_forgotten():
    state = DriftState()
    for value in [0.0] * 100 + [1.0] * 40:
        state = state.observed({"a": torch.tensor([value])})
    assert float(state.means["a"]) == pytest.approx(1 - (1 - 1 / STRETCH_FRAMES) ** 40, abs=1e-5)


def test_each_so_many_th_frame_is_due_and_one_that_does_not_count_is_made_up_for():
    state, taken = DriftState(), []
    for index in range(13):
        due = state.due(5)
        taken += [index] if due else []
        # The frame 5 is flagged.
        state = state.observed({}) if due and index != 5 else state.passed()
    assert taken == [0, 5, 6, 11]
    assert not DriftState().due(0)


def test_the_first_pass_inside_counts_and_nothing_stays_on_the_network():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    first, second = torch.rand(2, 3, 6, 8), torch.rand(1, 3, 6, 8)
    means = ChannelMeans(network, ["0"])
    for x in (second, first):
        with torch.no_grad(), means:
            network(x)
            network(second + 1)
    expected = network[0](first).mean((-2, -1))
    torch.testing.assert_close(means.frame(1)["0"], expected[1].detach())
    assert not network[0]._forward_hooks
    with pytest.raises(LayerError):
        ChannelMeans(network, ["7"])
