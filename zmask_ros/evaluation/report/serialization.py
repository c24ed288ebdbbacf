"""The border between typed figures and JSON: dataclasses become dictionaries, and what is not defined becomes null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

INLINED: dict[str, object] = {"inlined": True}
"""Metadata of a dataclass field, itself a dataclass, whose entries stand in JSON among those of the outer one."""


def keyed(key: str) -> dict[str, object]:
    """Metadata of a dataclass field that is called ``key`` in JSON."""
    return {"key": key}


def to_json(value: Any) -> Any:
    """``value`` as JSON writers take it; floats that are not finite, which JSON does not know, become None."""
    if is_dataclass(value):
        entries: dict[str, Any] = {}
        for own in fields(value):
            entry = to_json(getattr(value, own.name))
            entries |= entry if own.metadata.get("inlined") else {own.metadata.get("key", own.name): entry}
        return entries
    if isinstance(value, Mapping):
        return {key: to_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
