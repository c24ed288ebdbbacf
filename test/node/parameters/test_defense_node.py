"""The parameters of `defense_node` against the file that documents them."""

from __future__ import annotations

import yaml

from zmask_ros.node.parameters.defense_node import DefenseParameters
from zmask_ros.node.parameters.spec import specs
from zmask_ros.resources import find_resource


def test_the_documented_parameters_are_those_of_the_code() -> None:
    text = find_resource("config/defense.yaml").read_text()
    documented = yaml.safe_load(text)["/**"]["ros__parameters"]
    text = " ".join(text.replace("\n    # ", " ").split())
    assert documented == {spec.name: spec.default for spec in specs(DefenseParameters)}
    for spec in specs(DefenseParameters):
        assert spec.description.replace("'", '"') in text.replace("'", '"'), spec.name
