"""Settings of glibc's malloc: what the C library does with memory that is freed. Imports nothing of ours."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
KEPT_BYTES = 1 << 30
LARGEST_KEPT = 32 << 20
"""Bytes of a block; glibc takes no more."""


def keep_freed_memory() -> bool:
    """Keep freed memory for the next frame, instead of giving it back and asking for it again.

    A network on a CPU frees and takes megabytes at every layer. glibc returns blocks of that size to the kernel, which
    then clears thousands of pages a frame: more than a tenth of the time of the shipped network. All threads share one
    heap: what one thread takes and another one frees would else pile up in the heaps of both. Call it before there are
    threads.

    Returns:
        Whether it is so from now on; not every C library has these settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {M_MMAP_THRESHOLD: LARGEST_KEPT, M_TRIM_THRESHOLD: KEPT_BYTES, M_ARENA_MAX: 1}
    return all([mallopt(name, value) for name, value in settings.items()])
