"""Freed memory is kept, and not asked for again."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from zmask_ros.malloc import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()

def use():
    # A network's layers: blocks of megabytes, several of them alive at a time.
    x = torch.zeros(1 << 20)
    for _ in range(8):
        x = x + 1
    return x

for _ in range(5):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="about glibc")
def test_memory_that_is_used_again_is_not_cleared_again() -> None:
    def faults(how: str) -> int:
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=120
        )
        return int(result.stdout)

    # Kept, the heap may still grow by a block, once; given back, blocks are cleared anew again and again, by one a use
    # or by all, as the addresses fall: over many uses one block is nothing beside it.
    as_it_is = faults("as it is")
    if not as_it_is:
        pytest.skip("this kernel does not count page faults")
    assert 10 * faults("kept") < as_it_is
