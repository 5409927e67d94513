# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Erlang's External Term Format: any term from bytes, and the few kinds that calls need as bytes. Pure.

Standard: ERTS User's Guide, chapter "External Term Format"; `external.c` of erts. Private to the collection.

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

A term of a node that goes back to it is kept as Raw, which is its own bytes: `elements` cuts a tuple into such pieces,
and `encode` copies them to the letter.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Callable

from .._errors import ProtocolError
from .._limits import MAX_DEPTH, MAX_INTEGER_BYTES, MAX_NAME, MAX_REFERENCE_WORDS
from .._record import Record
from .cursor import U8, U16, U32, Cursor

VERSION_MAGIC = 131

# Tags, as the chapter names them.
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

# Tags that a peer may send only if distribution flags allow it that are not among ours.
NOT_NEGOTIATED = {
    COMPRESSED: "a compressed term",
    ATOM_CACHE_REF: "a reference into an atom cache",
    LOCAL_EXT: "a term in a node's local encoding",
}

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


class BitString(Record):
    """Bits that are no whole number of bytes: `bits` (1 to 7) of the last byte count."""

    data: bytes
    bits: int


class ImproperList(Record):
    """A list whose tail is not []."""

    items: list[Term]
    tail: Term


class Map(Record):
    """A map: its pairs of key and value, since a Python dict takes no list as a key."""

    pairs: list[tuple[Term, Term]]


class Pid(Record):
    """A process identifier."""

    node: Atom
    id: int
    serial: int
    creation: int


class Port(Record):
    """A port identifier."""

    node: Atom
    id: int
    creation: int


class Reference(Record):
    """A reference: its words in the order of the wire."""

    node: Atom
    creation: int
    words: tuple[int, ...]


class Fun(Record):
    """A fun with its free variables; arity is None in the form before OTP R15 (FUN_EXT)."""

    module: Atom
    arity: int | None
    new_index: int
    uniq: bytes
    old_index: int
    old_uniq: int
    pid: Term
    free: list[Term]


class Export(Record):
    """An external fun, `fun M:F/A`."""

    module: Atom
    function: Atom
    arity: int


class _Reader(Cursor):
    """A cursor that reads terms. `depth` counts the levels around what is read."""

    def count(self, kind: struct.Struct) -> int:
        """A number of terms to follow, each of which takes at least one byte."""
        value = self.number(kind)
        if value > self.left:
            raise ProtocolError(f"a term claims {value} parts with {self.left} bytes left")
        return value

    def term(self, depth: int) -> Term:
        if depth > MAX_DEPTH:
            raise ProtocolError(f"a term is nested deeper than {MAX_DEPTH} levels")
        start = self.position
        tag = self.byte()
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
            raise ProtocolError(f"an atom is expected before offset {self.position}")
        return value

    def integer(self, depth: int) -> int:
        value = self.term(depth + 1)
        if not isinstance(value, int):
            raise ProtocolError(f"an integer is expected before offset {self.position}")
        return value


def _atom(kind: struct.Struct, encoding: str) -> Callable[[_Reader, int], Atom]:
    def read(reader: _Reader, depth: int) -> Atom:
        data = reader.counted(kind)
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            raise ProtocolError(f"an atom is not valid {encoding} before offset {reader.position}") from None
        if len(text) > MAX_NAME:
            raise ProtocolError(f"an atom has {len(text)} characters, more than {MAX_NAME}")
        return Atom(text)

    return read


def _integer(kind: struct.Struct) -> Callable[[_Reader, int], int]:
    return lambda reader, depth: reader.number(kind)


def _big(kind: struct.Struct) -> Callable[[_Reader, int], int]:
    def read(reader: _Reader, depth: int) -> int:
        size = reader.number(kind)
        sign = reader.byte()
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
    (value,) = reader.fields(_F64)
    return _finite(value)


def _old_float(reader: _Reader, depth: int) -> float:
    text = reader.take(31).rstrip(b"\0")
    try:
        return _finite(float(text.decode("ascii")))
    except ValueError:
        raise ProtocolError("a float of the old form is not a number") from None


def _tuple(kind: struct.Struct) -> Callable[[_Reader, int], tuple[Term, ...]]:
    return lambda reader, depth: tuple(reader.terms(reader.count(kind), depth))


def _list(reader: _Reader, depth: int) -> Term:
    items = reader.terms(reader.count(U32), depth)
    tail = reader.term(depth + 1)
    # A list goes on in its tail, whatever the form; no node sends a list in such parts, or without elements.
    if isinstance(tail, list):
        return items + tail
    if isinstance(tail, ImproperList):
        return ImproperList(items + tail.items, tail.tail)
    return ImproperList(items, tail) if items else tail


def _map(reader: _Reader, depth: int) -> Map:
    parts = reader.terms(2 * reader.count(U32), depth)
    return Map(list(zip(parts[::2], parts[1::2])))


def _bit_binary(reader: _Reader, depth: int) -> Term:
    size, bits = reader.number(U32), reader.byte()
    data = reader.take(size)
    if not 1 <= bits <= 8 or not data:
        raise ProtocolError(f"a bitstring of {size} bytes uses {bits} bits of the last")
    return data if bits == 8 else BitString(data, bits)  # pragma: no mutate: more than 8 were refused above


def _pid(creation: struct.Struct) -> Callable[[_Reader, int], Pid]:
    return lambda reader, depth: Pid(
        reader.atom(depth), reader.number(U32), reader.number(U32), reader.number(creation)
    )


def _port(number: struct.Struct, creation: struct.Struct) -> Callable[[_Reader, int], Port]:
    return lambda reader, depth: Port(reader.atom(depth), reader.number(number), reader.number(creation))


def _reference(creation: struct.Struct) -> Callable[[_Reader, int], Reference]:
    def read(reader: _Reader, depth: int) -> Reference:
        size = reader.number(U16)
        if not 1 <= size <= MAX_REFERENCE_WORDS:
            raise ProtocolError(f"a reference of {size} words; 1 to {MAX_REFERENCE_WORDS} are allowed")
        node, made = reader.atom(depth), reader.number(creation)
        return Reference(node, made, tuple(reader.number(U32) for _unused in range(size)))

    return read


def _old_reference(reader: _Reader, depth: int) -> Reference:
    node, word = reader.atom(depth), reader.number(U32)
    return Reference(node, reader.byte(), (word,))


def _new_fun(reader: _Reader, depth: int) -> Fun:
    size = reader.number(U32)
    reader.position -= U32.size  # the size counts itself
    fun = reader.piece(size, "a fun")
    fun.number(U32)
    arity, uniq, index = fun.byte(), fun.take(16), fun.number(U32)
    count = fun.count(U32)
    module = fun.atom(depth)
    old_index, old_uniq = fun.integer(depth), fun.integer(depth)
    pid = fun.term(depth + 1)
    free = fun.terms(count, depth)
    fun.done()
    return Fun(module, arity, index, uniq, old_index, old_uniq, pid, free)


def _old_fun(reader: _Reader, depth: int) -> Fun:
    count = reader.count(U32)
    pid, module = reader.term(depth + 1), reader.atom(depth)
    index, uniq = reader.integer(depth), reader.integer(depth)
    return Fun(module, None, index, b"", index, uniq, pid, reader.terms(count, depth))


def _export(reader: _Reader, depth: int) -> Export:
    return Export(reader.atom(depth), reader.atom(depth), reader.integer(depth))


_DECODERS: dict[int, Callable[[_Reader, int], Term]] = {
    SMALL_INTEGER_EXT: _integer(U8),
    INTEGER_EXT: _integer(_I32),
    SMALL_BIG_EXT: _big(U8),
    LARGE_BIG_EXT: _big(U32),
    NEW_FLOAT_EXT: _new_float,
    FLOAT_EXT: _old_float,
    ATOM_EXT: _atom(U16, "latin-1"),
    SMALL_ATOM_EXT: _atom(U8, "latin-1"),
    ATOM_UTF8_EXT: _atom(U16, "utf-8"),
    SMALL_ATOM_UTF8_EXT: _atom(U8, "utf-8"),
    SMALL_TUPLE_EXT: _tuple(U8),
    LARGE_TUPLE_EXT: _tuple(U32),
    NIL_EXT: lambda reader, depth: [],
    STRING_EXT: lambda reader, depth: list(reader.counted(U16)),
    LIST_EXT: _list,
    MAP_EXT: _map,
    BINARY_EXT: lambda reader, depth: reader.counted(U32),
    BIT_BINARY_EXT: _bit_binary,
    PID_EXT: _pid(U8),
    NEW_PID_EXT: _pid(U32),
    PORT_EXT: _port(U32, U8),
    NEW_PORT_EXT: _port(U32, U32),
    V4_PORT_EXT: _port(_U64, U32),
    REFERENCE_EXT: _old_reference,
    NEW_REFERENCE_EXT: _reference(U8),
    NEWER_REFERENCE_EXT: _reference(U32),
    NEW_FUN_EXT: _new_fun,
    FUN_EXT: _old_fun,
    EXPORT_EXT: _export,
}


def split(data: bytes) -> list[Raw]:
    """The terms in a sequence of `131, term`, each without the 131. Errors: ProtocolError."""
    terms = []
    reader = _Reader(data, "a term")
    while reader.left:
        magic = reader.position
        if reader.byte() != VERSION_MAGIC:
            raise ProtocolError(f"a term must start with {VERSION_MAGIC} at offset {magic}")
        terms.append(_raw_term(reader, 0))
    return terms


def elements(term: bytes) -> list[Raw]:
    """The elements of an encoded tuple (no version magic), each as the bytes that came. Errors: ProtocolError."""
    reader = _Reader(term, "a term")
    tag = reader.byte()
    if tag not in (SMALL_TUPLE_EXT, LARGE_TUPLE_EXT):
        raise ProtocolError(f"a tuple is expected, not a term with tag {tag}")
    count = reader.count(U8 if tag == SMALL_TUPLE_EXT else U32)  # pragma: no mutate: it is the lower one of the two
    found = [_raw_term(reader, 1) for _unused in range(count)]
    reader.done()
    return found


def _raw_term(reader: _Reader, depth: int) -> Raw:
    start = reader.position
    reader.term(depth)
    return Raw(reader.data[start : reader.position])


def decode(term: bytes) -> Term:
    """The one term in these bytes (no version magic), all of them. Errors: ProtocolError."""
    reader = _Reader(term, "a term")
    value = reader.term(0)
    reader.done()
    return value


def encode(term: Term) -> bytes:
    """A term as its bytes (no version magic), in the form that a node of today would send.

    Takes what a call of ours consists of: Raw, Atom, Pid, Reference, integers of 32 bits, lists, and tuples of up to
    255 elements. Anything else is a defect of ours: TypeError, or ValueError for an atom that is too long.
    """
    if isinstance(term, Raw):
        return bytes(term)
    if isinstance(term, Atom):
        return _encode_atom(term)
    if _is_integer(term):
        return b"%c%c" % (SMALL_INTEGER_EXT, term) if 0 <= term < 256 else b"%c%b" % (INTEGER_EXT, _I32.pack(term))
    if isinstance(term, list):
        return _encode_list(term)
    if isinstance(term, Pid):
        return _encode_pid(term)
    if isinstance(term, Reference):
        return _encode_reference(term)
    if term.__class__ is tuple:
        return b"%c%c" % (SMALL_TUPLE_EXT, len(term)) + b"".join(map(encode, term))
    raise TypeError(f"no call has a {type(term).__name__}")


def _is_integer(term: Term) -> bool:
    # For Python a bool is an int, for Erlang it is an atom.
    return isinstance(term, int) and not isinstance(term, bool)


def _encode_atom(atom: Atom) -> bytes:
    if len(atom) > MAX_NAME:
        raise ValueError(f"an atom of {len(atom)} characters")
    data = atom.encode("utf-8")
    if len(data) < 256:
        return b"%c%c%b" % (SMALL_ATOM_UTF8_EXT, len(data), data)
    return b"%c%b%b" % (ATOM_UTF8_EXT, U16.pack(len(data)), data)


def _encode_list(items: list[Term]) -> bytes:
    if not items:
        return U8.pack(NIL_EXT)
    if len(items) < 1 << 16 and all(_is_integer(item) and 0 <= item < 256 for item in items):
        return b"%c%b%b" % (STRING_EXT, U16.pack(len(items)), bytes(items))
    return b"%c%b%b%c" % (LIST_EXT, U32.pack(len(items)), b"".join(map(encode, items)), NIL_EXT)


# A node before OTP 23 gives us a creation below 4, and knows only the old forms of pids and references.


def _encode_pid(pid: Pid) -> bytes:
    tag, creation = (PID_EXT, U8) if pid.creation < 4 else (NEW_PID_EXT, U32)
    return b"%c%b%b%b%b" % (tag, encode(pid.node), U32.pack(pid.id), U32.pack(pid.serial), creation.pack(pid.creation))


def _encode_reference(reference: Reference) -> bytes:
    tag, creation = (NEW_REFERENCE_EXT, U8) if reference.creation < 4 else (NEWER_REFERENCE_EXT, U32)
    return b"%c%b%b%b%b" % (
        tag,
        U16.pack(len(reference.words)),
        encode(reference.node),
        creation.pack(reference.creation),
        b"".join(map(U32.pack, reference.words)),
    )


def text(term: Term) -> str | None:
    """The text of an atom, a binary or a string; None for any other term."""
    if isinstance(term, Atom):
        return str(term)
    if isinstance(term, bytes):
        return term.decode("utf-8", "replace")
    if isinstance(term, list) and all(_is_integer(item) and 0 <= item < 0x110000 for item in term):
        return "".join(map(chr, term))
    return None
