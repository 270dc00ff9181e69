"""Caffe's text files, prototxt, to and from messages.

Reading is strict, as Caffe's is: a field that the schema does not have is an error, named with its
line. Source: the text format of protocol buffers; Caffe io.cpp, ReadProtoFromTextFile.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from google.protobuf.message import Message

from unet_native.caffe import schema
from unet_native.errors import UserError
from unet_native.files import write_text

# More than any known network needs by a factor of ten; parsing that much takes half a second.
SIZE_LIMIT = 1 << 20
MESSAGES_LIMIT = 20_000  # and the items of lists, `dim: [1, 1]`

_TOKEN = re.compile(
    r"""\#[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | \w+ | [^\s\w]""", re.X
)


def read(path: str | Path, kind: str) -> Message:
    """The message of type `kind` ("NetParameter", "SolverParameter") that a text file holds.

    Raises UserError, with file and line, if it cannot be read or is not such a message.
    """
    return parse(load(path), kind, str(path))


def load(path: str | Path) -> str:
    """The text of a file. Raises UserError if it is missing, too long or no text."""
    try:
        with open(path, "rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        reason = getattr(error, "strerror", error)
        raise UserError(f"{path}: cannot be read ({reason})") from error
    if len(data) > SIZE_LIMIT:
        raise UserError(f"{path}: longer than {SIZE_LIMIT >> 20} MB, so it is no prototxt")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file; give a prototxt") from None


def parse(text: str, kind: str, name: str) -> Message:
    """Like :func:`read`, for a text; `name` is what errors call it."""
    if sum(map(text.count, "{<,")) > MESSAGES_LIMIT:
        raise UserError(f"{name}: has over {MESSAGES_LIMIT} messages, so it is no network")
    message = schema.new(kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the only one is of Python's, about an escape
            text_format.Parse(text, message)
    except Warning as warning:
        raise UserError(f"{name}: {warning} in a string; a backslash is written twice") from None
    except text_format.ParseError as error:
        line = error.GetLine()
        place = name if line is None else f"{name}, line {line}"
        raise UserError(f"{place}: {_reason(error, text)}") from None
    return message


def _reason(error: text_format.ParseError, text: str) -> str:
    """What the parser says, without the place and the line of text that it may quote first."""
    reason = re.sub(r"^\d+:\d+ : ", "", str(error))
    if reason.startswith("'"):
        quotes = (f"'{line}': " for line in (*text.split("\n"), ""))
        reason = reason.removeprefix(next(filter(reason.startswith, quotes), ""))
    return _one_line(reason.replace("caffe.", ""))


def _one_line(text: str) -> str:
    flat = " ".join(text[:1000].split())
    flat = flat if len(flat) <= 200 else flat[:200] + " ..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in flat)


def write(path: str | Path, message: Message) -> Path:
    """Writes a message as text, whole or not at all."""
    return write_text(path, to_text(message))


def to_text(message: Message) -> str:
    """A message as text as Caffe prints it: fields by number, floats with as few digits as do."""
    return _FLOAT.sub(_as_c, text_format.MessageToString(message))


_FLOAT = re.compile(r"^( *(?!double_)\w+: )(-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+))$", re.M)


def _as_c(match: re.Match) -> str:
    """A float32 with the fewest digits, from 6 on, that say which one it is."""
    value = np.float32(match[2])
    texts = (f"{float(value):.{digits}g}" for digits in (6, 7, 8))
    return match[1] + next(
        (text for text in texts if np.float32(text) == value), f"{float(value):.9g}"
    )


def lines_of(text: str, field: str) -> list[int]:
    """The line, counted from 1, on which each message `field { ... }` at the top level begins."""
    found, depth, line, position = [], 0, 1, 0
    of_field, began = False, 0  # is it the word before this place, and on which line
    for match in _TOKEN.finditer(text):
        line += text.count("\n", position, match.start())
        position = match.start()
        token = match.group()
        if token.startswith("#"):
            continue
        if token in "{<":
            if depth == 0 and of_field:
                found.append(began or line)
                began = 0  # a list's further messages begin where they do
            depth += 1
        elif token in "}>":
            depth -= 1
        elif depth == 0 and token not in ":[,]":
            of_field, began = token == field, line
    return found
