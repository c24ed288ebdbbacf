"""Values that check themselves: frozen pydantic dataclasses whose complaint is one sentence of ours."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from zmask_ros.errors import ZmaskError


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Settings:
    """Values that belong together, checked whenever they are made, `dataclasses.replace` included.

    Attributes:
        owner: what a complaint calls them.
        refusal: raised where a value is not possible, or has another name than those declared.
    """

    owner: ClassVar[str] = "A set of settings"
    refusal: ClassVar[type[ZmaskError]] = ZmaskError

    @model_validator(mode="wrap")
    @classmethod
    def _refuse(cls, values: Any, validate: Callable[[Any], Any]) -> Any:
        try:
            return validate(values)
        except ValidationError as error:
            # Only a constructor's arguments have `kwargs`; inside of another value, its sentence names the whole place.
            if not hasattr(values, "kwargs"):
                raise
            raise cls.refusal(sentence(error, cls.owner)) from error


def sentence(error: ValidationError, owner: str) -> str:
    """The first complaint of pydantic as a sentence: our validators' own words as they are, its own with the place.

    Args:
        error: what pydantic raised.
        owner: what holds the entries, such as a file.
    """
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "missing":
        return f"{owner} lacks the entry '{place}'."
    if first["type"] == "unexpected_keyword_argument":
        return f"{owner} has no entry '{place}'."
    value, complaint = reprlib.repr(first["input"]), first["msg"].removeprefix("Input ")
    entry = f"{owner} has a malformed entry: '{place}'" if place else owner
    return f"{entry} is {value}, but {complaint[0].lower()}{complaint[1:]}."
