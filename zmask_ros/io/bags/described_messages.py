"""Messages in protobuf and in JSON, which mcap files of Foxglove's own writers have."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2


class ProtobufTypes:
    """Turns bytes into messages by the descriptors that a file carries for each type."""

    def __init__(self) -> None:
        self._descriptors: dict[str, bytes] = {}
        self._classes: dict[str, Any] = {}

    def add(self, name: str, descriptors: bytes) -> None:
        """Learn a type: a serialized FileDescriptorSet that has it and all that it uses."""
        self._descriptors.setdefault(name, descriptors)

    def deserialize(self, name: str, data: bytes) -> Any:
        """The message with its fields; whatever damaged bytes make protobuf raise is raised.

        Raises:
            ValueError: the type is not described.
        """
        if name not in self._classes:
            self._classes[name] = self._class(name)
        return self._classes[name].FromString(data)

    def _class(self, name: str) -> Any:
        if name not in self._descriptors:
            raise ValueError(f"the bag has no definition of {name} that can be used")
        # One pool a type: files may carry descriptions that contradict each other.
        pool = descriptor_pool.DescriptorPool()
        waiting = list(descriptor_pb2.FileDescriptorSet.FromString(self._descriptors[name]).file)
        named = {file.name for file in waiting}
        for own in (timestamp_pb2.DESCRIPTOR, duration_pb2.DESCRIPTOR):
            if own.name not in named:
                waiting.append(descriptor_pb2.FileDescriptorProto.FromString(own.serialized_pb))
        known: set[str] = set()
        # A file has to come after those that it imports, and not every writer puts them so.
        while ready := [file for file in waiting if known.issuperset(file.dependency)]:
            waiting = [file for file in waiting if file not in ready]
            for file in ready:
                pool.AddSerializedFile(file.SerializeToString())
                known.add(file.name)
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def from_json(data: bytes) -> Any:
    """A JSON object with its fields as attributes; `data`, which JSON has in base64, as bytes."""
    message = json.loads(data, object_hook=lambda fields: SimpleNamespace(**fields))
    message.data = base64.b64decode(message.data, validate=True)
    return message
