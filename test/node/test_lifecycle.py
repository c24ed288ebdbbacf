"""`defense_node` as a managed node: every transition, requests that are not possible, and its services."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from support.faulty_network import Faults
from support.node_processes import LATCHED, Camera, Client, StartedNode, header, image_message, tiny_parameters
from support.tiny_network import clean_image, describe, fit
from zmask_ros.cli.main import zmask
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.flag import profile_identity
from zmask_ros.msg import AttackFlag, AttackSummary

NAMESPACE = "/managed"
NO_SUCH_TRANSITION = 77


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {**tiny_parameters(tmp_path_factory.mktemp("managed"), f"{NAMESPACE}/"), "autostart": False}


@pytest.fixture(scope="module")
def node(parameters: dict[str, Any]) -> Iterator[StartedNode]:
    with StartedNode("defense_node", parameters, NAMESPACE) as process:
        yield process


@pytest.fixture
def client(node: StartedNode) -> Iterator[Client]:
    """One that finds the node as it was started: unconfigured."""
    client = Client(NAMESPACE)
    yield client
    bring(client, State.PRIMARY_STATE_UNCONFIGURED)
    client.close()


def state(client: Client) -> int:
    return int(client.call("defense_node/get_state", GetState, GetState.Request()).current_state.id)


def change(client: Client, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(client.call("defense_node/change_state", ChangeState, request, repeatable=False).success)


def bring(client: Client, wanted: int) -> None:
    """Bring the node into this state, by whatever transitions lead there."""
    while (now := state(client)) != wanted:
        if now == State.PRIMARY_STATE_UNCONFIGURED:
            assert change(client, Transition.TRANSITION_CONFIGURE)
        elif now == State.PRIMARY_STATE_ACTIVE:
            assert change(client, Transition.TRANSITION_DEACTIVATE)
        elif wanted == State.PRIMARY_STATE_ACTIVE:
            assert change(client, Transition.TRANSITION_ACTIVATE)
        else:
            assert change(client, Transition.TRANSITION_CLEANUP)


def frame(number: int) -> Any:
    return image_message(number, clean_image(number))


def logged(node: StartedNode, words: str) -> str:
    """The severity of the first line of the log with these words."""
    line = next(line for line in node.output.splitlines() if words in line)
    return line[1 : line.index("]")]


def expect_diagnostics(client: Client, task: str, words: str) -> None:
    arrays = client.collect(DiagnosticArray, "/diagnostics")

    def told() -> bool:
        statuses = [status for message in arrays for status in message.status]
        return any(
            status.name == f"defense_node: {task}" and status.level == DiagnosticStatus.WARN and words in status.message
            for status in statuses
        )

    client.until(told, f"diagnostics of {task} that say {words}")


def test_a_whole_life_and_another_one(client: Client) -> None:
    for _ in range(2):
        assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
        for task in ("input", "device", "profile"):
            expect_diagnostics(client, f"managed {task}", "unconfigured: no frame is processed")
        assert change(client, Transition.TRANSITION_CONFIGURE)
        client.until(lambda: client.node.count_publishers("zmask/attack"), "the topics")
        assert client.node.count_subscribers("image_raw") == 0, "an inactive node has to receive nothing"
        expect_diagnostics(client, "managed inference", "inactive: no frame is processed")
        assert change(client, Transition.TRANSITION_ACTIVATE)
        camera = Camera(client)
        flag = camera.ask(frame(1))
        assert (flag.state, flag.processed) == (AttackFlag.CLEAN, 1), "the counts begin with the activation"
        assert change(client, Transition.TRANSITION_DEACTIVATE)
        client.until(lambda: client.node.count_subscribers("image_raw") == 0, "the end of the subscription")
        assert change(client, Transition.TRANSITION_CLEANUP)
        client.until(lambda: client.node.count_publishers("zmask/attack") == 0, "the end of the topics")


def test_what_is_not_possible_is_refused_and_survived(client: Client, node: StartedNode) -> None:
    impossible = (Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
    for transition in (*impossible, NO_SUCH_TRANSITION):
        assert not change(client, transition)
    assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
    bring(client, State.PRIMARY_STATE_ACTIVE)
    assert not change(client, Transition.TRANSITION_CONFIGURE)
    assert Camera(client).ask(frame(1)).state == AttackFlag.CLEAN
    assert "refused in state" in node.output


def test_a_transition_that_fails_is_answered_with_failure_and_logged(
    client: Client, node: StartedNode, parameters: dict[str, Any]
) -> None:
    profile, aside = Path(parameters["profile"]), Path(parameters["profile"]).with_suffix(".aside")
    profile.rename(aside)
    try:
        assert not change(client, Transition.TRANSITION_CONFIGURE)
        assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
    finally:
        aside.rename(profile)
    assert "could not configure" in node.output
    assert profile.name in node.output
    assert change(client, Transition.TRANSITION_CONFIGURE)


def test_the_defence_can_be_turned_off_and_on(client: Client, node: StartedNode) -> None:
    bring(client, State.PRIMARY_STATE_ACTIVE)
    camera = Camera(client)
    assert camera.ask(frame(1)).alarm == AttackFlag.CLEAN
    assert client.call("defense_node/enable", SetBool, SetBool.Request(data=False)).success
    flag = camera.ask(frame(1))
    assert (flag.state, "~/enable" in flag.reason) == (AttackFlag.UNKNOWN, True)
    assert flag.alarm == AttackFlag.UNKNOWN, "nothing is known of a camera that is not looked at"
    assert client.call("defense_node/enable", SetBool, SetBool.Request(data=True)).success
    assert camera.ask(frame(2)).state == AttackFlag.CLEAN
    assert logged(node, "the defence is off: every frame is unknown") == "WARN"
    assert logged(node, "the defence is on") == "INFO"


def test_what_ends_the_defence_is_a_warning_and_what_is_loaded_is_said(client: Client, node: StartedNode) -> None:
    bring(client, State.PRIMARY_STATE_ACTIVE)
    bring(client, State.PRIMARY_STATE_UNCONFIGURED)
    assert logged(node, "loading the network of ") == "INFO"
    for said in ("deactivated", "cleaned up"):
        assert logged(node, f"{said}: no frame is defended any more") == "WARN"


def test_while_it_loads_it_answers_and_says_what_it_loads(parameters: dict[str, Any], tmp_path: Path) -> None:
    faults = Faults(tmp_path)
    faults.tell("hang")
    loading = {**parameters, "autostart": True, "segmenter": str(faults.describe(tmp_path))}
    with StartedNode("defense_node", loading, "/loading") as process:
        client = Client("/loading")
        try:
            expect_diagnostics(client, "loading profile", "configuring, loading the network of ")
            assert state(client) == State.TRANSITION_STATE_CONFIGURING
            # What ends a transition is nobody's to ask for.
            for transition in (Transition.TRANSITION_ON_CONFIGURE_SUCCESS, Transition.TRANSITION_CLEANUP):
                assert not change(client, transition)
            refused = client.call("defense_node/reload_profile", Trigger, Trigger.Request())
            assert (refused.success, "are being loaded already" in refused.message) == (False, True)
            faults.release()
            client.until(lambda: state(client) == State.PRIMARY_STATE_ACTIVE, "the active state")
            assert process.end()[0] == 0
        finally:
            client.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_while_it_loads(parameters: dict[str, Any], tmp_path: Path, number: signal.Signals) -> None:
    faults = Faults(tmp_path)
    faults.tell("hang")
    loading = {**parameters, "autostart": True, "segmenter": str(faults.describe(tmp_path))}
    with StartedNode("defense_node", loading, "/loading") as process:
        client = Client("/loading")
        try:
            client.until(lambda: not faults.left, "the network's first pass")
        finally:
            client.close()
        assert process.end(number)[0] == 0


def reload(*arguments: str) -> str:
    """What `zmask reload` prints, or says of why not."""
    run = CliRunner().invoke(zmask, ["reload", "--namespace", NAMESPACE, *arguments])
    assert (run.exit_code, type(run.exception)) in ((0, type(None)), (1, ZmaskError))
    return run.output.strip() or str(run.exception)


def test_a_node_that_is_not_there_cannot_be_told_to_reload() -> None:
    assert reload("--namespace", "/nowhere", "--timeout", "0.5").startswith("There is no node /nowhere/defense_node")


def test_a_profile_is_read_again_when_it_fits(client: Client, parameters: dict[str, Any], tmp_path: Path) -> None:
    assert "keeps the profiles that it had: No profile is loaded yet: configure" in reload()
    bring(client, State.PRIMARY_STATE_ACTIVE)
    camera, profile = Camera(client), Path(parameters["profile"])
    before, kept = camera.ask(frame(1)).profile, profile.read_bytes()
    try:
        shutil.copy(fit(describe(tmp_path, seed=1)), profile)
        refusal = reload()
        assert "/managed/defense_node keeps the profiles that it had" in refusal
        assert "network" in refusal
        assert camera.ask(frame(2)).profile == before
        shutil.copy(fit(describe(tmp_path, seed=0)), profile)
        assert reload() == f"managed: {profile_identity(profile)}"
        flag = camera.ask(frame(3))
        assert (flag.state, flag.profile) == (AttackFlag.CLEAN, profile_identity(profile))
    finally:
        profile.write_bytes(kept)


def test_who_comes_late_gets_the_summary(client: Client) -> None:
    bring(client, State.PRIMARY_STATE_ACTIVE)
    flag = Camera(client).ask(frame(1))
    summaries = client.collect(AttackSummary, "zmask/summary", LATCHED)
    # The flag leaves before the summary of it: who is quick gets the summary of before first.
    client.until(lambda: summaries and summaries[-1].last.header == flag.header, "the summary")
    summary = summaries[-1]
    assert (summary.camera, summary.alarm, summary.alarms) == ("managed", AttackFlag.CLEAN, 0)
    assert summary.profile_fit == AttackSummary.FIT_UNKNOWN
    assert math.isnan(summary.profile_distance)
    assert 0.0 < summary.verdict_share <= 1.0


def test_the_alarm_ends_with_the_activation(client: Client) -> None:
    bring(client, State.PRIMARY_STATE_ACTIVE)
    summaries = client.collect(AttackSummary, "zmask/summary", LATCHED)
    image = clean_image(5)
    image[16:32, 24:40] = (255, 255, 0)
    assert Camera(client).ask(image_message(5, image)).alarm == AttackFlag.ATTACK
    client.until(lambda: summaries and summaries[-1].alarm == AttackFlag.ATTACK, "the summary of the attack")
    assert summaries[-1].alarms == 1
    bring(client, State.PRIMARY_STATE_INACTIVE)
    client.until(lambda: summaries[-1].alarm == AttackFlag.UNKNOWN, "the summary of a camera that nobody looks at")
    bring(client, State.PRIMARY_STATE_ACTIVE)
    flag = Camera(client).ask(Image(header=header(6)))
    assert (flag.state, flag.alarm) == (AttackFlag.UNKNOWN, AttackFlag.UNKNOWN), "the old alarm is still there"
    summaries.clear()
    client.until(lambda: summaries, "the next summary")
    assert summaries[-1].alarms == 0


def test_the_end_of_life_ends_the_work(parameters: dict[str, Any]) -> None:
    with StartedNode("defense_node", {**parameters, "autostart": True}, "/ending") as process:
        client = Client("/ending")
        try:
            client.until(lambda: client.node.count_publishers("zmask/attack"), "the topics")
            client.until(lambda: state(client) == State.PRIMARY_STATE_ACTIVE, "the active state")
            assert change(client, Transition.TRANSITION_ACTIVE_SHUTDOWN)
            assert state(client) == State.PRIMARY_STATE_FINALIZED
            assert not change(client, Transition.TRANSITION_CONFIGURE)
            client.until(lambda: client.node.count_publishers("zmask/attack") == 0, "the end of the topics")
            assert process.end()[0] == 0
        finally:
            client.close()
