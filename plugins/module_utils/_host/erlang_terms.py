# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Erlang terms as text -> values, for the configuration of nodes. Pure.

Standard: Erlang Reference Manual, "Data Types"; `file:consult/1`: terms, each with a full stop. Private to the
collection.

| Erlang            | Python                  |
|-------------------|-------------------------|
| atom              | Word (a str)            |
| "string"          | str                     |
| <<"binary">>      | bytes                   |
| integer, float    | int, float              |
| list, tuple, map  | list, tuple, dict       |
"""

from __future__ import annotations

import re
from typing import Any, Iterator

from .._errors import EpmdError
from .._limits import MAX_DEPTH, MAX_DIGITS

_TOKEN = re.compile(
    r"""
      (?P<space>(?:\s|%[^\n]*)+)
    | (?P<float>[+-]?[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    | (?P<based>[+-]?[0-9]+\#[0-9a-zA-Z]+)
    | (?P<integer>[+-]?[0-9][0-9_]*)
    | (?P<character>\$(?:\\.|[^\\]))
    | (?P<string>"[^"\\]*(?:\\[\s\S][^"\\]*)*")
    | (?P<quoted>'[^'\\]*(?:\\[\s\S][^'\\]*)*')
    | (?P<word>[a-z][\w@]*)
    | (?P<mark><<|>>|=>|\#\{|[\[\](){},|/]|\.(?=\s|%|$))
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:x\{([0-9a-fA-F]+)\}|x([0-9a-fA-F]{2})|([0-7]{1,3})|\^(.)|([\s\S]))")
_NAMED = {"b": "\b", "d": "\x7f", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "s": " ", "t": "\t", "v": "\v"}


class Word(str):
    """An atom, to tell it from a string."""

    __slots__ = ()


def consult(text: str) -> list[Any]:
    """The terms of a file. Errors: EpmdError, with the line."""
    tokens = _Tokens(text)
    found = []
    while tokens.kind:
        found.append(_term(tokens, 0))
        tokens.expect(".")
    return found


class _Tokens:
    """The tokens of a text, one in view."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._line = 1
        self._rest = self._read()
        self.kind = self.value = ""
        self.next()

    def _read(self) -> Iterator[tuple[str, str]]:
        position = 0
        while position < len(self._text):  # pragma: no mutate: a match never ends behind the text
            match = _TOKEN.match(self._text, position)
            if match is None:
                raise self.error(f"unexpected {self._text[position]!r}")
            self._line += match.group().count("\n")
            position = match.end()
            if match.lastgroup != "space":
                yield str(match.lastgroup), match.group()

    def next(self) -> None:
        self.kind, self.value = next(self._rest, ("", ""))

    def accept(self, mark: str) -> bool:
        """Take this mark if it is next."""
        if (self.kind, self.value) != ("mark", mark):
            return False
        self.next()
        return True

    def expect(self, mark: str) -> None:
        if not self.accept(mark):
            raise self.error(f"expected {mark!r} before {self.shown}")

    @property
    def shown(self) -> str:
        """The token in view, for a person: a string may be a password, or long."""
        if not self.kind:
            return "the end"
        return f"{self.value[:40]!r}" if self.kind in ("mark", "word") else f"a {self.kind}"

    def error(self, what: str) -> EpmdError:
        return EpmdError(f"line {self._line}: {what}")


def _term(tokens: _Tokens, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise tokens.error(f"terms are nested more than {MAX_DEPTH} deep")
    kind, value = tokens.kind, tokens.value
    if kind == "mark":
        return _compound(tokens, depth + 1)
    if not kind:
        raise tokens.error("expected a term before the end")
    tokens.next()
    if kind == "string":
        parts = [_unescaped(value[1:-1])]
        while tokens.kind == "string":  # "a" "b" is "ab"
            parts.append(_unescaped(tokens.value[1:-1]))
            tokens.next()
        return "".join(parts)
    if kind == "quoted":
        return Word(_unescaped(value[1:-1]))
    if kind == "word":  # pragma: no mutate: no kind comes after it
        return Word(value)
    if kind == "character":
        return ord(_unescaped(value[1:]))
    return _number(tokens, kind, value)


def _number(tokens: _Tokens, kind: str, value: str) -> int | float:
    # Python itself refuses more than 4300 digits, but not before 3.11, where they only take time.
    try:
        if len(value) > MAX_DIGITS:
            raise ValueError
        if kind == "float":
            return float(value)
        if kind == "based":  # pragma: no mutate: else it is an integer
            base, digits = value.split("#")
            return int(digits, int(base))
        return int(value.replace("_", ""))
    except ValueError:
        raise tokens.error(f"{value:.20} is not a valid number") from None


def _compound(tokens: _Tokens, depth: int) -> Any:
    # The depth is that of what is in it.
    if tokens.accept("["):
        return _list(tokens, depth)
    if tokens.accept("{"):
        return tuple(_items(tokens, "}", depth))
    if tokens.accept("#{"):
        return _map(tokens, depth)
    if tokens.accept("<<"):
        return _binary(tokens)
    raise tokens.error(f"unexpected {tokens.value!r}")


def _items(tokens: _Tokens, end: str, depth: int) -> list[Any]:
    items: list[Any] = []
    if tokens.accept(end):
        return items
    while True:
        items.append(_term(tokens, depth))
        if not tokens.accept(","):
            tokens.expect(end)
            return items


def _list(tokens: _Tokens, depth: int) -> list[Any]:
    items: list[Any] = []
    if tokens.accept("]"):
        return items
    while True:
        items.append(_term(tokens, depth))
        if tokens.accept(","):
            continue
        if tokens.accept("|"):
            tail = _term(tokens, depth)
            items += tail if isinstance(tail, list) else [tail]
        tokens.expect("]")
        return items


def _map(tokens: _Tokens, depth: int) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    if tokens.accept("}"):
        return found
    while True:
        key = _term(tokens, depth)
        tokens.expect("=>")
        value = _term(tokens, depth)
        try:
            found[key] = value
        except TypeError:
            raise tokens.error("a key that is a list or a map is not understood") from None
        if not tokens.accept(","):
            tokens.expect("}")
            return found


def _binary(tokens: _Tokens) -> bytes:
    data = bytearray()
    while not tokens.accept(">>"):
        kind, value = tokens.kind, tokens.value
        if kind not in ("string", "integer"):
            raise tokens.error(f"expected a string or an integer of a binary before {tokens.shown}")
        tokens.next()
        text = (
            _unescaped(value[1:-1])
            if kind == "string"  # pragma: no mutate: else it is an integer
            else chr(int(_number(tokens, kind, value)) & 0xFF)
        )
        encoding = "latin-1"
        if tokens.accept("/"):
            if tokens.value != "utf8":
                raise tokens.error(f"{tokens.shown} is not understood as the type of a part of a binary")
            encoding = "utf-8"
            tokens.next()
        data += text.encode(encoding, "replace")
        tokens.accept(",")
    return bytes(data)


def _unescaped(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        braced, hexadecimal, octal, control, other = match.groups()
        if braced or hexadecimal:
            return chr(min(int(braced or hexadecimal, 16), 0x10FFFF))
        if octal:
            return chr(int(octal, 8))
        if control:
            return chr(ord(control) & 31)
        return _NAMED.get(other, other)

    return _ESCAPE.sub(plain, text)
