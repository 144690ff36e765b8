"""The messages of nikola.proto as protobuf classes, read from the .proto file itself: no protoc, no generated code.

Understands what that file uses: proto3, messages, enums, nesting, oneof, map, repeated, comments.
"""

import pathlib
import re

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "double": FIELD.TYPE_DOUBLE, "float": FIELD.TYPE_FLOAT, "int32": FIELD.TYPE_INT32, "int64": FIELD.TYPE_INT64,
    "uint32": FIELD.TYPE_UINT32, "uint64": FIELD.TYPE_UINT64, "bool": FIELD.TYPE_BOOL, "string": FIELD.TYPE_STRING,
    "bytes": FIELD.TYPE_BYTES,
}


class Parser:
    """Recursive descent over the tokens of a .proto file."""

    def __init__(self, text):
        text = re.sub(r"//[^\n]*", "", text)
        self.tokens = re.findall(r'"[^"]*"|[A-Za-z_][\w.]*|\d+|[{}<>=;,]', text)
        self.at = 0

    def take(self, expected=None):
        token = self.tokens[self.at]
        if expected is not None and token != expected:
            raise ValueError(f"expected {expected!r}, found {token!r}")
        self.at += 1
        return token

    def file(self):
        result = descriptor_pb2.FileDescriptorProto(name="nikola.proto", syntax="proto3")
        while self.at < len(self.tokens):
            word = self.take()
            if word == "syntax":
                self.take("="), self.take('"proto3"'), self.take(";")
            elif word == "package":
                result.package = self.take()
                self.take(";")
            elif word == "message":
                self.message(result.message_type.add())
            elif word == "enum":
                self.enum(result.enum_type.add())
            else:
                raise ValueError(f"unexpected {word!r}")
        return result

    def enum(self, target):
        target.name = self.take()
        self.take("{")
        while (name := self.take()) != "}":
            self.take("=")
            target.value.add(name=name, number=int(self.take()))
            self.take(";")

    def message(self, target):
        target.name = self.take()
        self.take("{")
        while (word := self.take()) != "}":
            if word == "message":
                self.message(target.nested_type.add())
            elif word == "enum":
                self.enum(target.enum_type.add())
            elif word == "oneof":
                target.oneof_decl.add(name=self.take())
                self.take("{")
                while (kind := self.take()) != "}":
                    self.field(target, kind, oneof=len(target.oneof_decl) - 1)
            elif word == "map":
                self.map(target)
            elif word == "repeated":
                self.field(target, self.take(), label=FIELD.LABEL_REPEATED)
            else:
                self.field(target, word)

    def field(self, target, kind, label=FIELD.LABEL_OPTIONAL, oneof=None):
        field = target.field.add(name=self.take(), label=label)
        self.take("=")
        field.number = int(self.take())
        self.take(";")
        if kind in SCALARS:
            field.type = SCALARS[kind]
        else:
            # Whether it is a message or an enum is found when the pool knows all names.
            field.type_name = kind
        if oneof is not None:
            field.oneof_index = oneof

    def map(self, target):
        self.take("<")
        key = self.take()
        self.take(",")
        value = self.take()
        self.take(">")
        name = self.tokens[self.at]
        entry = target.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        for number, (part, kind) in enumerate([("key", key), ("value", value)], start=1):
            entry.field.add(name=part, number=number, label=FIELD.LABEL_OPTIONAL, type=SCALARS[kind])
        self.field(target, entry.name, label=FIELD.LABEL_REPEATED)


def load(path=None):
    """A namespace of message classes; enum values are attributes of it too, as NAME."""
    path = path or pathlib.Path(__file__).resolve().parents[3] / "engine" / "proto" / "nikola.proto"
    pool = descriptor_pool.DescriptorPool()
    file = pool.Add(Parser(pathlib.Path(path).read_text(encoding="utf-8")).file()) or pool.FindFileByName("nikola.proto")

    class Messages:
        pass

    for name, descriptor in file.message_types_by_name.items():
        setattr(Messages, name, message_factory.GetMessageClass(descriptor))
        for enum in descriptor.enum_types:
            for value in enum.values:
                setattr(Messages, value.name, value.number)
    for enum in file.enum_types_by_name.values():
        for value in enum.values:
            setattr(Messages, value.name, value.number)
    return Messages
