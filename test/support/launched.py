"""A real `ros2 launch` in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path

from support import TESTS
from support.node_processes import PATIENCE_S

MARK = "ZMASK_TEST_LAUNCH"


class Launched:
    """A `ros2 launch` whose processes, and theirs, can be told from all others by their environment."""

    def __init__(self, *words: str) -> None:
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            ["ros2", "launch", *words],
            env=os.environ | {name: value, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def pids(self) -> list[int]:
        """Of its processes that run."""
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except (OSError, ValueError):
                continue
        return found

    def processes(self) -> list[str]:
        """The commands of those that run."""
        found = []
        for pid in self.pids():
            try:
                found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found

    def until(self, line: str) -> str:
        """The output up to a line that has this in it."""
        assert self._process.stdout is not None
        output = ""
        for read in self._process.stdout:
            output += read
            if line in read:
                return output
        raise AssertionError(f"no '{line}' in: {output}")

    def terminate(self) -> None:
        """As `kill` does to the launch alone."""
        self._process.send_signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """As Ctrl-C does to the launch alone."""
        self._process.send_signal(signal.SIGINT)

    def interrupt_all(self) -> None:
        """As Ctrl-C in a terminal, to all processes; where there is no terminal, launch sends it once more."""
        os.killpg(self._process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Its exit code and its output, once it has ended."""
        output, _ = self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode, output

    def kill(self) -> None:
        """Everything that is left."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
