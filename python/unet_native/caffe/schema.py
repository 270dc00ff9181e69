"""Caffe's messages as classes of the protobuf library, made from caffe.proto when first needed.

    message = schema.new("NetParameter")

The .proto files are read here instead of being compiled beforehand, since compiled code only works
with the versions of the library for which it was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

FILES = ("caffe.proto", "other_layers.proto")  # two parts of one schema

_TOKEN = re.compile(r'//[^\n]*|"[^"]*"|[\w.+-]+|[{}\[\]=;,]')
_SCALARS = ("int32", "int64", "uint32", "float", "double", "bool", "string", "bytes")
_Field = descriptor_pb2.FieldDescriptorProto


def new(name: str) -> Message:
    """An empty message of that type: "NetParameter", "SolverParameter", ..."""
    return message_class(name)()


def message_class(name: str) -> type[Message]:
    """The class of a message. Raises KeyError for one that Caffe does not have."""
    return _classes()[f"caffe.{name}"]


def message_names() -> list[str]:
    """All messages, without the package's name."""
    return [name.removeprefix("caffe.") for name in _classes()]


def enum_values(message: str, enum: str) -> dict[str, int]:
    """The names and numbers of an enumeration inside a message."""
    values = message_class(message).DESCRIPTOR.enum_types_by_name[enum].values
    return {value.name: value.number for value in values}


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="unet_native/caffe.proto", package="caffe")
    for name in FILES:
        text = files(__package__).joinpath(name).read_text(encoding="utf-8")
        _read_file(iter([t for t in _TOKEN.findall(text) if not t.startswith("//")]), file)
    _resolve_types(file)
    pool = descriptor_pool.DescriptorPool()  # of our own: another package may know "caffe" too
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles([file.name], pool)


def _read_file(tokens: Iterator[str], file: descriptor_pb2.FileDescriptorProto) -> None:
    for word in tokens:
        if word == "message":
            _read_message(tokens, file.message_type.add(name=next(tokens)))
        elif word == "enum":
            _read_enum(tokens, file.enum_type.add(name=next(tokens)))
        else:  # syntax, package
            while next(tokens) != ";":
                pass


def _read_enum(tokens: Iterator[str], enum: descriptor_pb2.EnumDescriptorProto) -> None:
    assert next(tokens) == "{"
    while (name := next(tokens)) != "}":
        assert next(tokens) == "="
        enum.value.add(name=name, number=int(next(tokens)))
        assert next(tokens) == ";"


def _read_message(tokens: Iterator[str], message: descriptor_pb2.DescriptorProto) -> None:
    assert next(tokens) == "{"
    while (word := next(tokens)) != "}":
        if word == "enum":
            _read_enum(tokens, message.enum_type.add(name=next(tokens)))
            continue
        label = {"optional": _Field.LABEL_OPTIONAL, "repeated": _Field.LABEL_REPEATED}[word]
        field = message.field.add(label=label, type_name=next(tokens), name=next(tokens))
        assert next(tokens) == "="
        field.number = int(next(tokens))
        while (word := next(tokens)) != ";":
            if word == "default":
                assert next(tokens) == "="
                field.default_value = next(tokens).strip('"')
            elif word == "packed":
                field.options.packed = (next(tokens), next(tokens)) == ("=", "true")


def _resolve_types(file: descriptor_pb2.FileDescriptorProto) -> None:
    """Says of each field's type what it is: a scalar, an enumeration, or a message."""
    enums = {enum.name: f".caffe.{enum.name}" for enum in file.enum_type}
    for message in file.message_type:
        own = {enum.name: f".caffe.{message.name}.{enum.name}" for enum in message.enum_type}
        for field in message.field:
            name = field.type_name
            if name in _SCALARS:
                field.type = getattr(_Field, f"TYPE_{name.upper()}")
                field.ClearField("type_name")
            elif name in own or name in enums:
                field.type = _Field.TYPE_ENUM
                field.type_name = own.get(name) or enums[name]
            else:
                field.type = _Field.TYPE_MESSAGE
                field.type_name = f".caffe.{name}"
