# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Terms as a node of OTP 25 encodes them, and the terms of a call to it, decoded.

Written from the chapter "External Term Format" of the ERTS User's Guide and not from the collection, of which it takes
the names of the kinds alone. Without the version magic, as there.
"""

from __future__ import annotations

import struct
from typing import Any, Callable

from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import (
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    Map,
    Pid,
    Port,
    Raw,
    Reference,
    Term,
)


def encode(term: Term) -> bytes:
    """A term of any kind as bytes."""
    return _ENCODERS[type(term)](term)


def _all(terms: Any) -> bytes:
    return b"".join(map(encode, terms))


def _atom(atom: Atom) -> bytes:
    data = atom.encode()
    return (struct.pack(">BB", 119, len(data)) if len(data) < 256 else struct.pack(">BH", 118, len(data))) + data


def _integer(value: int) -> bytes:
    if 0 <= value <= 255:
        return struct.pack(">BB", 97, value)
    if -(2**31) <= value < 2**31:
        return struct.pack(">Bi", 98, value)
    magnitude = abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "little")
    head = struct.pack(">BB", 110, len(magnitude)) if len(magnitude) < 256 else struct.pack(">BI", 111, len(magnitude))
    return head + bytes([value < 0]) + magnitude


def _list(items: list[Term]) -> bytes:
    if not items:
        return b"\x6a"
    if len(items) < 65536 and all(item.__class__ is int and 0 <= item <= 255 for item in items):
        return struct.pack(">BH", 107, len(items)) + bytes(items)
    return struct.pack(">BI", 108, len(items)) + _all(items) + b"\x6a"


def _tuple(items: tuple[Term, ...]) -> bytes:
    head = struct.pack(">BB", 104, len(items)) if len(items) < 256 else struct.pack(">BI", 105, len(items))
    return head + _all(items)


def _reference(reference: Reference) -> bytes:
    words = struct.pack(f">{len(reference.words)}I", *reference.words)
    head = struct.pack(">BH", 90, len(reference.words)) + _atom(reference.node)
    return head + struct.pack(">I", reference.creation) + words


def _fun(fun: Fun) -> bytes:
    rest = struct.pack(">B16sII", fun.arity, fun.uniq, fun.new_index, len(fun.free))
    rest += _atom(fun.module) + _integer(fun.old_index) + _integer(fun.old_uniq) + encode(fun.pid) + _all(fun.free)
    return struct.pack(">BI", 112, 4 + len(rest)) + rest


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    Raw: bytes,
    Atom: _atom,
    int: _integer,
    float: lambda value: struct.pack(">Bd", 70, value),
    bytes: lambda value: struct.pack(">BI", 109, len(value)) + value,
    BitString: lambda value: struct.pack(">BIB", 77, len(value.data), value.bits) + value.data,
    list: _list,
    ImproperList: lambda value: struct.pack(">BI", 108, len(value.items)) + _all(value.items) + encode(value.tail),
    tuple: _tuple,
    Map: lambda value: struct.pack(">BI", 116, len(value.pairs)) + b"".join(map(_all, value.pairs)),
    Pid: lambda value: b"\x58" + _atom(value.node) + struct.pack(">III", value.id, value.serial, value.creation),
    Port: lambda value: b"\x59" + _atom(value.node) + struct.pack(">II", value.id, value.creation),
    Reference: _reference,
    Export: lambda value: b"\x71" + _atom(value.module) + _atom(value.function) + _integer(value.arity),
    Fun: _fun,
}


def decode(data: bytes) -> tuple[Any, bytes]:
    """The first term, and the bytes after it. Knows the kinds that a call has, old forms and new."""
    tag, rest = data[0], data[1:]
    if tag == 97:
        return rest[0], rest[1:]
    if tag == 98:
        return int.from_bytes(rest[:4], "big", signed=True), rest[4:]
    if tag == 104:
        items, rest = _decode_all(rest[0], rest[1:])
        return tuple(items), rest
    if tag == 106:
        return [], rest
    if tag == 107:
        size = int.from_bytes(rest[:2], "big")
        return list(rest[2 : 2 + size]), rest[2 + size :]
    if tag == 108:
        items, rest = _decode_all(int.from_bytes(rest[:4], "big"), rest[4:])
        assert rest[:1] == b"\x6a"
        return items, rest[1:]
    if tag in (118, 119):
        width = 2 if tag == 118 else 1
        end = width + int.from_bytes(rest[:width], "big")
        return Atom(rest[width:end].decode()), rest[end:]
    if tag in (88, 103):
        node, rest = decode(rest)
        width = 4 if tag == 88 else 1
        number, serial = struct.unpack_from(">II", rest)
        return Pid(node, number, serial, int.from_bytes(rest[8 : 8 + width], "big")), rest[8 + width :]
    if tag in (90, 114):
        count, width = int.from_bytes(rest[:2], "big"), 4 if tag == 90 else 1
        node, rest = decode(rest[2:])
        end = width + 4 * count
        return Reference(node, int.from_bytes(rest[:width], "big"), struct.unpack(f">{count}I", rest[width:end])), rest[
            end:
        ]
    raise AssertionError(f"no call has a term with tag {tag}")


def _decode_all(count: int, data: bytes) -> tuple[list[Any], bytes]:
    items = []
    for _unused in range(count):
        item, data = decode(data)
        items.append(item)
    return items, data
