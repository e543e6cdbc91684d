"""Builds protobuf messages from tables, in a descriptor pool of their own.

Clients of Triton and KServe register the same names in protobuf's default pool, where a name can be taken only once:
messages in a pool of their own live beside any of them in one process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

Row: TypeAlias = "tuple[str, int, str] | tuple[str, int, str, str]"
"""Name, number and type of a field, and the name of its oneof where it is part of one.

A type is a scalar of protobuf, an enum, or a message; `*` after it makes a list, `{}` a map from strings to it.
"""

Table: TypeAlias = Mapping[str, Sequence[Row]]
"""Rows by message; `Outer.Inner` is nested."""

_SCALARS = {
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
}


class Schema:
    """Message classes of one package by their names."""

    def __init__(self, package: str, messages: Table, enums: Mapping[str, Sequence[str]]) -> None:
        self._package = package
        self._enums = frozenset(enums)
        file = FileDescriptorProto(name=f"quickserveml/{package}.proto", package=package, syntax="proto3")
        for name, values in enums.items():
            enum = file.enum_type.add(name=name)
            for number, value in enumerate(values):
                enum.value.add(name=value, number=number)
        made: dict[str, DescriptorProto] = {}
        for name, rows in messages.items():
            outer, _, inner = name.rpartition(".")
            owner = made[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=name)
            made[name] = owner
            self._fill(owner, name, rows)
        pool = DescriptorPool()
        pool.Add(file)
        self.classes: dict[str, Any] = {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages
        }

    def _fill(self, message: DescriptorProto, name: str, rows: Sequence[Row]) -> None:
        oneofs: dict[str, int] = {}
        for row in rows:
            field = message.field.add(name=row[0], number=row[1], label=FieldDescriptorProto.LABEL_OPTIONAL)
            kind = row[2]
            if kind.endswith("{}"):
                field.label = FieldDescriptorProto.LABEL_REPEATED
                field.type = FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = self._add_entry(message, name, row[0], kind[:-2])
                continue
            if kind.endswith("*"):
                field.label = FieldDescriptorProto.LABEL_REPEATED
                kind = kind[:-1]
            self._set_type(field, kind)
            if len(row) == 4:
                if row[3] not in oneofs:
                    oneofs[row[3]] = len(oneofs)
                    message.oneof_decl.add(name=row[3])
                field.oneof_index = oneofs[row[3]]

    def _set_type(self, field: FieldDescriptorProto, kind: str) -> None:
        scalar = _SCALARS.get(kind)
        if scalar is not None:
            field.type = scalar
            return
        is_enum = kind in self._enums
        field.type = FieldDescriptorProto.TYPE_ENUM if is_enum else FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{self._package}.{kind}"

    def _add_entry(self, message: DescriptorProto, name: str, field: str, kind: str) -> str:
        """A map is a list of entries with a key and a value."""
        title = "".join(part.capitalize() for part in field.split("_")) + "Entry"
        entry = message.nested_type.add(name=title)
        entry.options.map_entry = True
        optional = FieldDescriptorProto.LABEL_OPTIONAL
        entry.field.add(name="key", number=1, label=optional, type=FieldDescriptorProto.TYPE_STRING)
        self._set_type(entry.field.add(name="value", number=2, label=optional), kind)
        return f".{self._package}.{name}.{title}"
