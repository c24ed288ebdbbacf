"""Errors of the network, told apart by their names and words."""

from __future__ import annotations

import pytest
import torch

from zmask_ros.node.device_errors import is_device_error, is_out_of_memory


@pytest.mark.parametrize(
    ("error", "memory", "device"),
    [
        (MemoryError(), True, False),
        (RuntimeError("CUDA error: out of memory"), True, False),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True, False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True, False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, True),
        (ValueError("CUDA error, says somebody"), False, False),
        (RuntimeError("shapes do not fit"), False, False),
    ],
)
def test_errors_of_the_network_are_told_apart(error: Exception, memory: bool, device: bool) -> None:
    assert (is_out_of_memory(error), is_device_error(error)) == (memory, device)
