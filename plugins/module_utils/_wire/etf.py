# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Erlang's External Term Format: bytes <-> terms. Pure.

Standard: ERTS User's Guide, chapter "External Term Format"; `external.c` of erts.

| Erlang                | Python                                   |
| --------------------- | ---------------------------------------- |
| atom                  | Atom (a str)                             |
| integer, float        | int, float                               |
| binary, bitstring     | bytes, BitString                         |
| tuple                 | tuple                                    |
| proper, improper list | list (a string is a list of int), ImproperList |
| map                   | Map, pairs in the order of the wire      |
| pid, port, reference  | Pid, Port, Reference                     |
| fun, external fun     | Fun, Export                              |

A term that came from a node and goes back to it is kept as Raw, its own bytes: `elements` cuts
a tuple into such pieces, and `encode` puts them out again to the letter.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Callable, NamedTuple

from .._errors import ProtocolError
from .._limits import MAX_DEPTH, MAX_INTEGER_BYTES, MAX_NAME, MAX_REFERENCE_WORDS

VERSION_MAGIC = 131

# Tag, as the chapter names them.
NEW_FLOAT_EXT = 70
BIT_BINARY_EXT = 77
COMPRESSED = 80
ATOM_CACHE_REF = 82
NEW_PID_EXT = 88
NEW_PORT_EXT = 89
NEWER_REFERENCE_EXT = 90
SMALL_INTEGER_EXT = 97
INTEGER_EXT = 98
FLOAT_EXT = 99
ATOM_EXT = 100
REFERENCE_EXT = 101
PORT_EXT = 102
PID_EXT = 103
SMALL_TUPLE_EXT = 104
LARGE_TUPLE_EXT = 105
NIL_EXT = 106
STRING_EXT = 107
LIST_EXT = 108
BINARY_EXT = 109
SMALL_BIG_EXT = 110
LARGE_BIG_EXT = 111
NEW_FUN_EXT = 112
EXPORT_EXT = 113
NEW_REFERENCE_EXT = 114
SMALL_ATOM_EXT = 115
MAP_EXT = 116
FUN_EXT = 117
ATOM_UTF8_EXT = 118
SMALL_ATOM_UTF8_EXT = 119
V4_PORT_EXT = 120
LOCAL_EXT = 121

# Known tags that a peer may only send after flags that this client never offers.
NOT_NEGOTIATED = {
    COMPRESSED: "a compressed term",
    ATOM_CACHE_REF: "a reference into an atom cache",
    LOCAL_EXT: "a term in a node's local encoding",
}

_U8 = struct.Struct(">B")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_I32 = struct.Struct(">i")
_F64 = struct.Struct(">d")

Term = Any


class Atom(str):
    """An atom; equal to the str of its name."""

    __slots__ = ()


class Raw(bytes):
    """One encoded term without the version magic, kept as it came."""

    __slots__ = ()


class BitString(NamedTuple):
    """Bits that are no whole number of bytes: `bits` (1 to 7) of the last byte count."""

    data: bytes
    bits: int


class ImproperList(NamedTuple):
    """A list whose tail is not []."""

    items: list[Term]
    tail: Term


class Map(NamedTuple):
    """A map: its pairs of key and value, since a Python dict takes no list as a key."""

    pairs: list[tuple[Term, Term]]


class Pid(NamedTuple):
    """A process identifier."""

    node: Atom
    id: int
    serial: int
    creation: int


class Port(NamedTuple):
    """A port identifier."""

    node: Atom
    id: int
    creation: int


class Reference(NamedTuple):
    """A reference: its words in the order of the wire."""

    node: Atom
    creation: int
    words: tuple[int, ...]


class Fun(NamedTuple):
    """A fun with its free variables; arity is None in the form before OTP R15 (FUN_EXT)."""

    module: Atom
    arity: int | None
    new_index: int
    uniq: bytes
    old_index: int
    old_uniq: int
    pid: Term
    free: list[Term]


class Export(NamedTuple):
    """An external fun, `fun M:F/A`."""

    module: Atom
    function: Atom
    arity: int


class _Reader:
    """A place in the bytes. Every read is checked here, and nowhere else."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise ProtocolError(
                f"a term is cut off: {size} bytes wanted at offset {self.position}, {len(self.data)} there"
            )
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, kind: struct.Struct) -> int:
        (value,) = kind.unpack(self.take(kind.size))
        return int(value)

    def count(self, kind: struct.Struct) -> int:
        """A number of things to follow, each of which takes at least one byte."""
        value = self.number(kind)
        left = len(self.data) - self.position
        if value > left:
            raise ProtocolError(f"a term claims {value} parts with {left} bytes left")
        return value

    def term(self, depth: int) -> Term:
        if depth > MAX_DEPTH:
            raise ProtocolError(f"a term is nested deeper than {MAX_DEPTH} levels")
        start = self.position
        tag = self.number(_U8)
        decoder = _DECODERS.get(tag)
        if decoder is None:
            what = NOT_NEGOTIATED.get(tag, "an unknown term tag")
            raise ProtocolError(f"{what} ({tag}) at offset {start}")
        return decoder(self, depth)

    def terms(self, count: int, depth: int) -> list[Term]:
        return [self.term(depth + 1) for _unused in range(count)]

    def atom(self, depth: int) -> Atom:
        value = self.term(depth + 1)
        if not isinstance(value, Atom):
            raise ProtocolError(f"an atom is due before offset {self.position}")
        return value

    def small_integer(self, depth: int) -> int:
        value = self.term(depth + 1)
        if not isinstance(value, int):
            raise ProtocolError(f"an integer is due before offset {self.position}")
        return value


def _atom(kind: struct.Struct, encoding: str) -> Callable[[_Reader, int], Atom]:
    def read(reader: _Reader, depth: int) -> Atom:
        data = reader.take(reader.number(kind))
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            raise ProtocolError(f"an atom is no {encoding} before offset {reader.position}") from None
        if len(text) > MAX_NAME:
            raise ProtocolError(f"an atom has {len(text)} characters, more than {MAX_NAME}")
        return Atom(text)

    return read


def _integer(kind: struct.Struct) -> Callable[[_Reader, int], int]:
    return lambda reader, depth: reader.number(kind)


def _big(kind: struct.Struct) -> Callable[[_Reader, int], int]:
    def read(reader: _Reader, depth: int) -> int:
        size = reader.number(kind)
        sign = reader.number(_U8)
        if size > MAX_INTEGER_BYTES:
            raise ProtocolError(f"an integer of {size} bytes, more than {MAX_INTEGER_BYTES}")
        if sign > 1:
            raise ProtocolError(f"a big integer has the sign {sign}")
        magnitude = int.from_bytes(reader.take(size), "little")
        return -magnitude if sign else magnitude

    return read


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ProtocolError("a float is not a finite number")
    return value


def _new_float(reader: _Reader, depth: int) -> float:
    (value,) = _F64.unpack(reader.take(_F64.size))
    return _finite(value)


def _old_float(reader: _Reader, depth: int) -> float:
    text = reader.take(31).rstrip(b"\0")
    try:
        return _finite(float(text.decode("ascii")))
    except ValueError:
        raise ProtocolError("a float of the old form is no number") from None


def _tuple(kind: struct.Struct) -> Callable[[_Reader, int], tuple[Term, ...]]:
    return lambda reader, depth: tuple(reader.terms(reader.count(kind), depth))


def _list(reader: _Reader, depth: int) -> Term:
    items = reader.terms(reader.count(_U32), depth)
    tail = reader.term(depth + 1)
    return items if tail == [] else ImproperList(items, tail)


def _map(reader: _Reader, depth: int) -> Map:
    parts = reader.terms(2 * reader.count(_U32), depth)
    return Map(list(zip(parts[::2], parts[1::2])))


def _bit_binary(reader: _Reader, depth: int) -> Term:
    size, bits = reader.number(_U32), reader.number(_U8)
    data = reader.take(size)
    if not 1 <= bits <= 8 or not data:
        raise ProtocolError(f"a bitstring of {size} bytes uses {bits} bits of the last")
    return data if bits == 8 else BitString(data, bits)


def _pid(creation: struct.Struct) -> Callable[[_Reader, int], Pid]:
    return lambda reader, depth: Pid(
        reader.atom(depth), reader.number(_U32), reader.number(_U32), reader.number(creation)
    )


def _port(number: struct.Struct, creation: struct.Struct) -> Callable[[_Reader, int], Port]:
    return lambda reader, depth: Port(reader.atom(depth), reader.number(number), reader.number(creation))


def _reference(creation: struct.Struct) -> Callable[[_Reader, int], Reference]:
    def read(reader: _Reader, depth: int) -> Reference:
        size = reader.number(_U16)
        if not 1 <= size <= MAX_REFERENCE_WORDS:
            raise ProtocolError(f"a reference of {size} words; 1 to {MAX_REFERENCE_WORDS} are allowed")
        node, made = reader.atom(depth), reader.number(creation)
        return Reference(node, made, tuple(reader.number(_U32) for _unused in range(size)))

    return read


def _old_reference(reader: _Reader, depth: int) -> Reference:
    node, word = reader.atom(depth), reader.number(_U32)
    return Reference(node, reader.number(_U8), (word,))


def _new_fun(reader: _Reader, depth: int) -> Fun:
    start = reader.position
    size = reader.number(_U32)
    arity, uniq, index = reader.number(_U8), reader.take(16), reader.number(_U32)
    count = reader.count(_U32)
    module = reader.atom(depth)
    old_index, old_uniq = reader.small_integer(depth), reader.small_integer(depth)
    pid = reader.term(depth + 1)
    fun = Fun(module, arity, index, uniq, old_index, old_uniq, pid, reader.terms(count, depth))
    taken = reader.position - start
    if taken != size:
        raise ProtocolError(f"a fun of {taken} bytes claims {size}")
    return fun


def _old_fun(reader: _Reader, depth: int) -> Fun:
    count = reader.count(_U32)
    pid, module = reader.term(depth + 1), reader.atom(depth)
    index, uniq = reader.small_integer(depth), reader.small_integer(depth)
    return Fun(module, None, index, b"", index, uniq, pid, reader.terms(count, depth))


def _export(reader: _Reader, depth: int) -> Export:
    return Export(reader.atom(depth), reader.atom(depth), reader.small_integer(depth))


_DECODERS: dict[int, Callable[[_Reader, int], Term]] = {
    SMALL_INTEGER_EXT: _integer(_U8),
    INTEGER_EXT: _integer(_I32),
    SMALL_BIG_EXT: _big(_U8),
    LARGE_BIG_EXT: _big(_U32),
    NEW_FLOAT_EXT: _new_float,
    FLOAT_EXT: _old_float,
    ATOM_EXT: _atom(_U16, "latin-1"),
    SMALL_ATOM_EXT: _atom(_U8, "latin-1"),
    ATOM_UTF8_EXT: _atom(_U16, "utf-8"),
    SMALL_ATOM_UTF8_EXT: _atom(_U8, "utf-8"),
    SMALL_TUPLE_EXT: _tuple(_U8),
    LARGE_TUPLE_EXT: _tuple(_U32),
    NIL_EXT: lambda reader, depth: [],
    STRING_EXT: lambda reader, depth: list(reader.take(reader.number(_U16))),
    LIST_EXT: _list,
    MAP_EXT: _map,
    BINARY_EXT: lambda reader, depth: reader.take(reader.number(_U32)),
    BIT_BINARY_EXT: _bit_binary,
    PID_EXT: _pid(_U8),
    NEW_PID_EXT: _pid(_U32),
    PORT_EXT: _port(_U32, _U8),
    NEW_PORT_EXT: _port(_U32, _U32),
    V4_PORT_EXT: _port(_U64, _U32),
    REFERENCE_EXT: _old_reference,
    NEW_REFERENCE_EXT: _reference(_U8),
    NEWER_REFERENCE_EXT: _reference(_U32),
    NEW_FUN_EXT: _new_fun,
    FUN_EXT: _old_fun,
    EXPORT_EXT: _export,
}


def split(data: bytes) -> list[Raw]:
    """Cut what follows one another as `131, term` into its terms. Errors: ProtocolError."""
    terms = []
    reader = _Reader(data)
    while reader.position < len(data):
        magic = reader.position
        if reader.number(_U8) != VERSION_MAGIC:
            raise ProtocolError(f"a term must start with {VERSION_MAGIC} at offset {magic}")
        start = reader.position
        reader.term(0)
        terms.append(Raw(data[start : reader.position]))
    return terms


def elements(term: bytes) -> list[Raw]:
    """The elements of an encoded tuple (no version magic), each as the bytes that came."""
    reader = _Reader(term)
    tag = reader.number(_U8)
    if tag not in (SMALL_TUPLE_EXT, LARGE_TUPLE_EXT):
        raise ProtocolError(f"a tuple is due, not tag {tag}")
    found = []
    for _unused in range(reader.count(_U8 if tag == SMALL_TUPLE_EXT else _U32)):
        start = reader.position
        reader.term(1)
        found.append(Raw(term[start : reader.position]))
    _end(reader)
    return found


def decode(term: bytes) -> Term:
    """The one term in these bytes (no version magic), all of them. Errors: ProtocolError."""
    reader = _Reader(term)
    value = reader.term(0)
    _end(reader)
    return value


def _end(reader: _Reader) -> None:
    left = len(reader.data) - reader.position
    if left:
        raise ProtocolError(f"{left} bytes follow the term")


def encode(term: Term) -> bytes:
    """A term as its bytes (no version magic), in the form that a node of today would send.

    Takes what the table above lists, but funs and ports: those only ever go back as Raw.
    Errors: TypeError for anything else, ValueError for what is too large.
    """
    if isinstance(term, Raw):
        return bytes(term)
    if isinstance(term, Atom):
        return _encode_atom(term)
    if isinstance(term, bytes):
        return b"%c%b%b" % (BINARY_EXT, _U32.pack(len(term)), term)
    if _is_integer(term):
        return _encode_integer(term)
    if isinstance(term, float):
        return b"%c%b" % (NEW_FLOAT_EXT, _F64.pack(term))
    if isinstance(term, list):
        return _encode_list(term)
    if isinstance(term, ImproperList):
        return _encode_items(LIST_EXT, term.items) + encode(term.tail)
    if isinstance(term, Map):
        return _encode_items(MAP_EXT, term.pairs, [part for pair in term.pairs for part in pair])
    if isinstance(term, BitString):
        return b"%c%b%c%b" % (BIT_BINARY_EXT, _U32.pack(len(term.data)), term.bits, term.data)
    if isinstance(term, Pid):
        return _encode_identity(PID_EXT, NEW_PID_EXT, term.node, (term.id, term.serial), term.creation)
    if isinstance(term, Reference):
        return _encode_reference(term)
    if isinstance(term, (Port, Fun, Export)):
        raise TypeError(f"a {type(term).__name__} only goes back as Raw")
    if isinstance(term, tuple):
        if len(term) < 256:
            return b"%c%c" % (SMALL_TUPLE_EXT, len(term)) + b"".join(map(encode, term))
        return _encode_items(LARGE_TUPLE_EXT, term)
    raise TypeError(f"no encoding for a {type(term).__name__}")


def _is_integer(term: Term) -> bool:
    # To Python a bool is an int, to Erlang it is an atom.
    return isinstance(term, int) and not isinstance(term, bool)


def _encode_items(tag: int, counted: Any, items: Any = None) -> bytes:
    parts = counted if items is None else items
    return b"%c%b" % (tag, _U32.pack(len(counted))) + b"".join(map(encode, parts))


def _encode_atom(atom: Atom) -> bytes:
    if len(atom) > MAX_NAME:
        raise ValueError(f"an atom of {len(atom)} characters")
    data = atom.encode("utf-8")
    if len(data) < 256:
        return b"%c%c%b" % (SMALL_ATOM_UTF8_EXT, len(data), data)
    return b"%c%b%b" % (ATOM_UTF8_EXT, _U16.pack(len(data)), data)


def _encode_integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"%c%c" % (SMALL_INTEGER_EXT, value)
    if -(1 << 31) <= value < 1 << 31:
        return b"%c%b" % (INTEGER_EXT, _I32.pack(value))
    size = (abs(value).bit_length() + 7) // 8
    data = abs(value).to_bytes(size, "little")
    if size < 256:
        return b"%c%c%c%b" % (SMALL_BIG_EXT, size, value < 0, data)
    return b"%c%b%c%b" % (LARGE_BIG_EXT, _U32.pack(size), value < 0, data)


def _encode_list(items: list[Term]) -> bytes:
    if not items:
        return _U8.pack(NIL_EXT)
    if len(items) < 1 << 16 and all(_is_integer(item) and 0 <= item < 256 for item in items):
        return b"%c%b%b" % (STRING_EXT, _U16.pack(len(items)), bytes(items))
    return _encode_items(LIST_EXT, items) + _U8.pack(NIL_EXT)


def _encode_identity(old: int, new: int, node: Atom, words: tuple[int, ...], creation: int) -> bytes:
    # Only peers before OTP 23 give creations below 4, and only those need the old form.
    small = creation < 4
    packed = b"".join(map(_U32.pack, words))
    return b"%c%b%b%b" % (
        old if small else new,
        encode(node),
        packed,
        (_U8 if small else _U32).pack(creation),
    )


def _encode_reference(reference: Reference) -> bytes:
    small = reference.creation < 4
    return b"%c%b%b%b%b" % (
        NEW_REFERENCE_EXT if small else NEWER_REFERENCE_EXT,
        _U16.pack(len(reference.words)),
        encode(reference.node),
        (_U8 if small else _U32).pack(reference.creation),
        b"".join(map(_U32.pack, reference.words)),
    )


def text(term: Term) -> str | None:
    """An atom, binary or string as str; None for anything else."""
    if isinstance(term, Atom):
        return str(term)
    if isinstance(term, bytes):
        return term.decode("utf-8", "replace")
    if isinstance(term, list) and all(_is_integer(item) and 0 <= item < 0x110000 for item in term):
        return "".join(map(chr, term))
    return None
