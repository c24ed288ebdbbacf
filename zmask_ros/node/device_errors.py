"""What kind of error an exception is, in words for the user. torch is not imported: its errors are known by name."""

from __future__ import annotations

from zmask_ros.errors import ZmaskError, describe_error

OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
DEVICE_WORDS = ("cuda error", "cudnn error", "cublas", "cudnn_status", "device-side assert")


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device, or the machine, had no memory left."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _says(error, OUT_OF_MEMORY_WORDS)


def is_device_error(error: Exception) -> bool:
    """Whether the device itself failed, so that nothing that lies on it can be trusted any more."""
    if is_out_of_memory(error):
        return False
    return type(error).__name__ == "AcceleratorError" or (
        isinstance(error, RuntimeError) and _says(error, DEVICE_WORDS)
    )


def error_sentence(error: Exception) -> str:
    """The sentence that a `ZmaskError` was made with, or the description of any other error."""
    return str(error) if isinstance(error, ZmaskError) else describe_error(error)


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)
