# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to epmd as bytes, and its replies as values. Pure. Private to the collection.

Standard: ERTS User's Guide, "Distribution Protocol", section "EPMD Protocol"; `epmd_srv.c` of erts. A request starts
with its 2-byte length; a reply has none and ends with the connection. Names are bytes on the wire; here they are str,
one character a byte (Latin-1), as atoms are.
"""

from __future__ import annotations

import re
import struct
import sys
from typing import Iterator

from .._errors import ProtocolError
from .._limits import MAX_EPMD_NAME_BYTES, MAX_EPMD_NAMES, MAX_NAME
from .._record import Record
from .cursor import U16, U32, Cursor

DEFAULT_PORT = 4369

OTP_PROTOCOLS = ("inet_tcp", "inet6_tcp", "inet_tls", "inet6_tls")
"""The -proto_dist of OTP, which register at epmd; any other is a module of its own, which may hand on to one of these,
or do as it likes."""

NAMES_REQ = b"\x00\x01n"
"""Asks for everything that is registered; the reply is for `decode_names_reply`."""

DUMP_REQ = b"\x00\x01d"
"""Asks for everything that is or was registered, with epmd's file descriptors; for `decode_dump_reply`."""

PORT_PLEASE2_REQ = 122
PORT2_RESP = 119

# Port, node type, protocol, highest and lowest version.
_REGISTRATION = struct.Struct(">HBBHH")
# A name may contain any byte, a line feed too, so a line ends where a port does.
_NAME_START = rb"(?m)^name "
_NAME_END = rb" at port ([0-9]{1,5})\n"
_DUMP_START = rb"active name +<"
_DUMP_END = rb"> at port [0-9]{1,5}, fd = ([0-9]{1,9}) *\n"


class _Line(Record):
    """A line of a table or of a dump: its offset, the name, and the number at its end."""

    start: int
    name: bytes
    number: int


def is_name(name: str) -> bool:
    """Whether epmd can be asked about this name: 1 to 255 characters of Latin-1, without a host."""
    return 1 <= len(name) <= MAX_NAME and max(name) <= "\xff"


def encode_port_request(name: str) -> bytes:
    """PORT_PLEASE2_REQ: what is registered under this name? Errors: ValueError unless `is_name`."""
    if not is_name(name):
        raise ValueError(f"a node name has 1 to {MAX_NAME} characters of Latin-1, unlike {name[:20]!r}")
    # A name is an atom, which the node too sends as one byte a character (`to_string` in erl_epmd.erl).
    return b"%b%c%b" % (U16.pack(1 + len(name)), PORT_PLEASE2_REQ, name.encode("latin-1"))


def _text(name: bytes) -> str:
    return name.decode("latin-1")


def _reply(data: bytes, what: str) -> Cursor:
    if not data:
        raise ProtocolError("it closed the connection without an answer")
    return Cursor(data, what)


def _lines(text: bytes, start_of: bytes, end_of: bytes, highest: int) -> Iterator[_Line]:
    """The lines in a text, each from a start to the first end behind a name; what is no line is skipped.

    Both are searched forwards only: one regular expression for a line would look for its end from each start again.
    """
    starts, ends = re.compile(start_of), re.compile(end_of)
    start, end = starts.search(text), ends.search(text)
    while start and end:
        first = start.end()
        if end.start() <= first:  # of an earlier line, or of a name without a byte
            end = ends.search(text, end.end())
            continue
        behind = first
        if end.start() - first <= MAX_EPMD_NAME_BYTES and int(end.group(1)) <= highest:
            yield _Line(start.start(), text[first : end.start()], int(end.group(1)))
            behind = end.end()
        start = starts.search(text, behind)


def decode_names_reply(data: bytes) -> dict[str, int]:
    """Name to distribution port, from all bytes until epmd closed the connection. Errors: ProtocolError.

    Anybody can register a name that contains the line of another, so PORT_PLEASE2 decides which port a name has. The
    rest of such a name is no line; it is skipped, so that it does not spoil the table. Only the first line has to be
    well-formed.
    """
    reply = _reply(data, "its table")
    reply.number(U32)  # epmd's own port
    text = reply.rest()
    if text and not text.endswith(b"\n"):
        raise ProtocolError("its table is cut off in the last line")
    names: dict[str, int] = {}
    for line in _lines(text, _NAME_START, _NAME_END, 65535):
        if line.start and not names:
            break  # pragma: no mutate: the others start later
        name = _text(line.name)
        if len(names) == MAX_EPMD_NAMES and name not in names:  # pragma: no mutate: there are never more
            raise ProtocolError(f"its table has more than {MAX_EPMD_NAMES} names")
        names[name] = line.number
    if text and not names:
        raise ProtocolError(f"the first line of its table is malformed: {text[:40]!r}")
    return names


def decode_dump_reply(data: bytes) -> dict[str, int]:
    """Name to epmd's file descriptor, from all bytes until epmd closed the connection. Errors: ProtocolError.

    Everything but active names is skipped: the text is meant for people, and only OTP's own epmd sends it.
    """
    reply = _reply(data, "its dump")
    reply.number(U32)  # epmd's own port
    found: dict[str, int] = {}
    twice = set()
    for line in _lines(reply.rest(), _DUMP_START, _DUMP_END, sys.maxsize):
        name = _text(line.name)
        if name in found:
            twice.add(name)
        elif len(found) == MAX_EPMD_NAMES:  # pragma: no mutate: there are never more
            raise ProtocolError(f"its dump has more than {MAX_EPMD_NAMES} names")
        found[name] = line.number
    # A name that occurs twice is forged inside another name.
    return {name: descriptor for name, descriptor in found.items() if name not in twice}


def decode_port_reply(data: bytes) -> int | None:
    """The distribution port under the name that was asked about; None if it is not registered. Errors: ProtocolError.

    The bytes are PORT2_RESP, all until epmd closed the connection.
    """
    reply = _reply(data, "its answer about a name")
    if reply.byte() != PORT2_RESP:
        raise ProtocolError(f"its answer about a name is malformed: it starts with {data[:2]!r}")
    if reply.byte():
        return None
    port: int = reply.fields(_REGISTRATION)[0]
    name, _extra = reply.counted(U16), reply.counted(U16)
    reply.done()
    if not 1 <= len(name) <= MAX_NAME:
        raise ProtocolError(f"its answer about a name has a name of {len(name)} bytes")
    return port
