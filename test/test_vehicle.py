"""`docs/vehicle.md`, command by command, in one shell; simulated streets stand for the roads."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from support import ROOT
from support.node_processes import RELIABLE, Client
from zmask_ros.demo.processes import executable
from zmask_ros.flags.flag import profile_identity
from zmask_ros.msg import AttackFlag
from zmask_ros.resources import fast_dds_profile

PAGE = ROOT / "docs" / "vehicle.md"
NOT_RUN, WHERE_SYSTEMD_IS = "# Not run: ", "# Run where systemd is installed."
NAMESPACE = "/front"
ATTACK_FRAMES = 30
"""Of the drive behind the truck, as the page has it."""
DONE_FD = 9
LIMIT_S = 600.0


def blocks() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


def run_blocks() -> list[str]:
    """The blocks that are run on this machine, in their order."""
    left_out = NOT_RUN if shutil.which("systemd-analyze") else (NOT_RUN, WHERE_SYSTEMD_IS)
    return [block for block in blocks() if not block.startswith(left_out)]


@pytest.mark.parametrize("block", blocks(), ids=range(len(blocks())))
def test_a_block_is_a_script(block: str) -> None:
    subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_what_is_not_run_says_why() -> None:
    reasons = [block.splitlines()[0].removeprefix(NOT_RUN) for block in blocks() if block.startswith(NOT_RUN)]
    assert all(len(reason.split()) > 1 for reason in reasons)
    assert len(reasons) < len(run_blocks())


class Shell:
    """A shell with job control, as a person has one, which runs a block after the other."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._log = folder / "shell.log"
        self._told, tell = os.pipe()
        os.set_blocking(self._told, False)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash"],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[tell],
                start_new_session=True,
                text=True,
            )
        os.close(tell)
        self._send(f"set -emu; exec {DONE_FD}>&{tell} {tell}>&-")

    def _send(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def run(self, block: str, client: Client) -> None:
        """Run a block while the client receives; a command that fails ends the shell, and the test."""
        # Jobs that go on in the background are not to hold it.
        self._send(f"{{ {block}}} {DONE_FD}>&-\necho >&{DONE_FD}")
        client.until(self._told_something, f"the end of\n{block}", LIMIT_S)

    def _told_something(self) -> bool:
        try:
            told = os.read(self._told, 1)
        except BlockingIOError:
            return False
        assert told, f"a command failed:\n{self._log.read_text()}"
        return True

    def end(self) -> None:
        """End all that it has started."""
        os.close(self._told)
        for pid in processes_of(self._process.pid):
            os.kill(pid, signal.SIGKILL)
        self._process.wait()


def processes_of(session: int) -> list[int]:
    """The processes of a session, in whatever group of it."""
    listed = subprocess.run(["ps", "-o", "pid=", "-s", str(session)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in listed.stdout.split()]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """In a folder that holds of the checkout what the page needs."""
    for name in ("config", "deploy", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = os.pathsep.join([str(executable("zmask").parent), os.environ["PATH"]])
    shell = Shell(tmp_path, os.environ | fast_dds_profile() | {"PATH": path})
    yield shell
    shell.end()


@pytest.mark.slow
def test_every_command_works_and_every_frame_has_its_flag(shell: Shell, client: Client, tmp_path: Path) -> None:
    flags: list[AttackFlag] = []
    # Others say that no frame has come for a while.
    client.node.create_subscription(
        AttackFlag, "zmask/attack", lambda flag: flags.append(flag) if flag.sequence else None, RELIABLE
    )
    profile = tmp_path / "try" / "etc" / "zmask" / "front.zmask.safetensors"
    recorded = tmp_path / "try" / "var" / "lib" / "zmask" / "front"
    for block in run_blocks():
        before = len(flags)
        shell.run(block, client)
        if "camera=$!" in block:
            client.until(lambda before=before: len(flags) > before, "the flag of the camera's first frame")
        if "zmask reload" in block:
            client.until(lambda: flags[-1].profile == profile_identity(profile), "a flag of the new profile")
        if block.startswith("street_camera") and "&" not in block:
            client.until(lambda: len(flags) == ATTACK_FRAMES, "the flags of the drive behind the truck")
            # On a busy machine frames may be unknown; none of these is clean.
            assert (
                {AttackFlag.ATTACK} <= {flag.state for flag in flags[-10:]} <= {AttackFlag.ATTACK, AttackFlag.UNKNOWN}
            )
        if "du -sh" in block:
            assert sum(path.stat().st_size for path in recorded.iterdir()) <= 6 * 2**20
            assert not (recorded / "flags_000001.mcap").exists(), "the bound was not reached"
    assert (tmp_path / "attack.mp4").stat().st_size > 10_000
    sent = ATTACK_FRAMES + json.loads((tmp_path / "counts.json").read_text())["frames_sent"]
    assert sorted(flag.sequence for flag in flags) == [*range(1, sent + 1)]
    ran = [identity for identity, _ in groupby(flag.profile for flag in flags)]
    assert (len(ran), ran[0]) == (3, ran[2]), "there, and back again"
