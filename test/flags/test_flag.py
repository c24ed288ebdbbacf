"""A flag says what the message says."""

from __future__ import annotations

import re

from zmask_ros.flags.flag import FrameState
from zmask_ros.resources import find_resource


def test_the_codes_of_the_states_are_those_of_the_message() -> None:
    constants = re.findall(r"^uint8 ([A-Z]+)=(\d)", find_resource("msg/AttackFlag.msg").read_text(), re.MULTILINE)
    assert {name: int(code) for name, code in constants} == {state.name: state.value for state in FrameState}
