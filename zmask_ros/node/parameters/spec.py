"""Parameters of a node as one frozen dataclass: name, type, default, description, range, and whether it is live.

The dataclass is the only table: a node declares from it, with descriptors, and reads its values as attributes.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from zmask_ros.errors import ZmaskError

if TYPE_CHECKING:
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.node import Node
    from rclpy.parameter import Parameter as RosParameter


READ_ONLY = "read when the node starts, not changed while it runs"


class ParameterError(ZmaskError):
    """A parameter of the wrong type, outside its range, or not one of its choices."""


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter.

    Attributes:
        default: its type is the parameter's type: bool, int, float, str or list[str].
        minimum, maximum: bounds of a number, both inclusive.
        choices: what a string may be; empty when it may be anything.
        live: whether it can be changed while the node runs; the others are read-only.
    """

    name: str
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False


def parameter(default: Any, description: str, **limits: Any) -> Any:
    """A field of a dataclass of parameters; ``limits`` are the other attributes of `ParameterSpec`."""
    metadata = {"description": description, **limits}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


Parameters = TypeVar("Parameters")


def specs(table: type) -> list[ParameterSpec]:
    """Every parameter of a dataclass whose fields were made by `parameter`, in their order."""
    defaults = table()
    return [
        ParameterSpec(field.name, getattr(defaults, field.name), **field.metadata)
        for field in dataclasses.fields(table)
    ]


def declare(node: Node, table: type[Parameters], prefix: str = "") -> Parameters:
    """Declare every parameter with its descriptor and return the values that the user set, or the defaults.

    Args:
        prefix: before the name of each, such as ``front.``.

    Raises:
        ParameterError: a value of the wrong type, out of range or not one of the choices.
    """
    return table(
        **{spec.name: _declare_one(node, dataclasses.replace(spec, name=prefix + spec.name)) for spec in specs(table)}
    )


def take_integers_for_doubles(node: Node) -> None:
    """Let ``ros2 param set`` give 0 for 0.0: an integer that is set for a double of the node becomes one."""
    from rclpy.parameter import Parameter

    def converted(one: Parameter) -> Parameter:
        is_double = node.has_parameter(one.name) and node.get_parameter(one.name).type_ == Parameter.Type.DOUBLE
        return _as_double(one) if is_double else one

    node.add_pre_set_parameters_callback(lambda parameters: [converted(one) for one in parameters])


def _as_double(parameter: RosParameter) -> RosParameter:
    """The same as a double if it is an integer."""
    from rclpy.parameter import Parameter

    if parameter.type_ != Parameter.Type.INTEGER:
        return parameter
    return Parameter(parameter.name, Parameter.Type.DOUBLE, float(parameter.value))


def unknown_parameters(node: Node) -> list[str]:
    """Names of the parameters that the user set and that the node does not have, such as misspelled ones."""
    # rclpy has no public list of what was set and never declared. Those of topics are declared with the topics.
    overrides: dict[str, Any] = node._parameter_overrides
    return sorted(name for name in overrides if not node.has_parameter(name) and not name.startswith("qos_overrides."))


def _declare_one(node: Node, spec: ParameterSpec) -> Any:
    from rclpy.exceptions import ParameterException

    # As above, for those that are given at the start: rclpy has no public way to them either.
    overrides: dict[str, Any] = node._parameter_overrides
    if isinstance(spec.default, float) and spec.name in overrides:
        overrides[spec.name] = _as_double(overrides[spec.name])
    try:
        value = node.declare_parameter(spec.name, spec.default, _descriptor(spec)).value
    except ParameterException as error:
        raise ParameterError(f"{str(error).rstrip('.')}{_limits(spec, ' (', ')')}.") from error
    if spec.choices and value not in spec.choices:
        raise ParameterError(f"Parameter {spec.name} must be{_limits(spec, ' ')}, not '{value}'.")
    # ROS has no type for an empty list, and gives none.
    return list(value or []) if isinstance(spec.default, list) else value


def _limits(spec: ParameterSpec, before: str = "", after: str = "") -> str:
    """The range or the choices in words; empty when there are none."""
    limits = []
    if spec.minimum is not None:
        limits.append(f"at least {spec.minimum:g}")
    if spec.maximum is not None:
        limits.append(f"at most {spec.maximum:g}")
    if spec.choices:
        limits.append(f"one of {', '.join(choice or 'nothing' for choice in spec.choices)}")
    return f"{before}{', '.join(limits)}{after}" if limits else ""


def _descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(
        name=spec.name,
        description=spec.description,
        additional_constraints="; ".join(filter(None, (_limits(spec), "" if spec.live else READ_ONLY))),
        read_only=not spec.live,
    )
    if spec.minimum is None and spec.maximum is None:
        return descriptor
    number, largest = (float, sys.float_info.max) if isinstance(spec.default, float) else (int, 2**31 - 1)
    lowest = number(-largest if spec.minimum is None else spec.minimum)
    highest = number(largest if spec.maximum is None else spec.maximum)
    if number is float:
        descriptor.floating_point_range = [FloatingPointRange(from_value=lowest, to_value=highest)]
    else:
        descriptor.integer_range = [IntegerRange(from_value=lowest, to_value=highest, step=1)]
    return descriptor
