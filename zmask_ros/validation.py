"""Settings that check themselves: pydantic models whose complaint is one sentence of ours."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from zmask_ros.errors import ZmaskError

T = TypeVar("T", bound="Settings")


class Settings(BaseModel):
    """Values that belong together; frozen, and with no names but the declared ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def checked(cls: type[T], **values: Any) -> T:
        """The settings of these values.

        Raises:
            ZmaskError: one of them is not possible; the sentence says which, and why.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise ZmaskError(sentence(error)) from error


def sentence(error: ValidationError) -> str:
    """The first complaint of pydantic as a sentence: our validators' own words as they are, its own with the place."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"][:1].lower() + first["msg"][1:]
    return f"'{place}' is {first['input']!r}: {message}."
