# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said to epmd and what it answers: bytes <-> values. Pure.

Standard: ERTS User's Guide, "Distribution Protocol", section "EPMD Protocol"; `epmd_srv.c` of
erts. Requests carry a 2-byte length, replies carry none: NAMES and PORT_PLEASE2 end with the
connection, ALIVE2 has a fixed size that its first byte tells. Names are bytes on the wire; here
they are str, one character a byte (Latin-1), as atoms are.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple, Union

from .._errors import ProtocolError
from .._legible import legible
from .._limits import MAX_EPMD_NAME_BYTES, MAX_EPMD_NAMES, MAX_NAME

DEFAULT_PORT = 4369

ALIVE2_REQ = 120
PORT_PLEASE2_REQ = 122
NAMES_REQ = 110
DUMP_REQ = 100
ALIVE2_RESP = 121
ALIVE2_X_RESP = 118
PORT2_RESP = 119

NORMAL_NODE = 77
HIDDEN_NODE = 72
TCP_IPV4 = 0
HIGHEST_VERSION = 6
LOWEST_VERSION = 5

_LENGTH = struct.Struct(">H")
_ALIVE2 = struct.Struct(">HBBHH")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
# A name may have anything in it, a line end as well, so a line ends where a port does.
_NAME_LINE = re.compile(rb"name ([\s\S]{1,%d}?) at port ([0-9]{1,5})\n" % MAX_EPMD_NAME_BYTES)
_DUMP_LINE = re.compile(
    rb"\0?active name +<([\s\S]{1,%d}?)> at port [0-9]{1,5}, fd = ([0-9]{1,9}) *\n" % MAX_EPMD_NAME_BYTES
)


class Names(NamedTuple):
    """NAMES_REQ: everything that is registered."""


class Dump(NamedTuple):
    """DUMP_REQ: everything that is registered and was registered, with epmd's own descriptors."""


class PortPlease2(NamedTuple):
    """PORT_PLEASE2_REQ: what is registered under this name (no host part)."""

    name: str


class Alive2(NamedTuple):
    """ALIVE2_REQ: register this name, for as long as this connection lives."""

    name: str
    port: int
    node_type: int = NORMAL_NODE
    protocol: int = TCP_IPV4
    highest: int = HIGHEST_VERSION
    lowest: int = LOWEST_VERSION
    extra: bytes = b""


Request = Union[Names, Dump, PortPlease2, Alive2]


class NamesReply(NamedTuple):
    """The port that this epmd says it listens on, and its table: name to distribution port."""

    port: int
    names: dict[str, int]


class Alive2Reply(NamedTuple):
    """The answer to ALIVE2: result 0 is success. `wide`: creation has 32 bits (ALIVE2_X_RESP)."""

    result: int
    creation: int
    wide: bool = True


def is_name(name: str) -> bool:
    """Whether epmd can be asked for this: 1 to 255 characters of Latin-1."""
    return 1 <= len(name) <= MAX_NAME and max(name) <= "\xff"


def _name_bytes(name: str) -> bytes:
    # As the node itself does: a name is an atom, one byte a character (`to_string` in erl_epmd.erl).
    if not is_name(name):
        raise ValueError(f"a node name has 1 to {MAX_NAME} characters of Latin-1, unlike {name[:20]!r}")
    return name.encode("latin-1")


def _name_text(data: bytes) -> str:
    return data.decode("latin-1")


def encode_request(request: Request) -> bytes:
    """The bytes to send, with their length. Errors: ValueError for a name that is no name."""
    if isinstance(request, Names):
        body = bytes([NAMES_REQ])
    elif isinstance(request, Dump):
        body = bytes([DUMP_REQ])
    elif isinstance(request, PortPlease2):
        body = bytes([PORT_PLEASE2_REQ]) + _name_bytes(request.name)
    else:
        name = _name_bytes(request.name)
        body = b"%c%b%b%b%b%b" % (
            ALIVE2_REQ,
            _ALIVE2.pack(request.port, request.node_type, request.protocol, request.highest, request.lowest),
            _U16.pack(len(name)),
            name,
            _U16.pack(len(request.extra)),
            request.extra,
        )
    return _LENGTH.pack(len(body)) + body


def decode_request(data: bytes) -> Request:
    """What a client asked for, from the bytes with their length. Errors: ProtocolError."""
    if len(data) < 3 or int.from_bytes(data[:2], "big") != len(data) - 2:
        raise ProtocolError(f"a request to epmd of {len(data)} bytes does not have the length that it claims")
    tag, body = data[2], data[3:]
    if tag == NAMES_REQ and not body:
        return Names()
    if tag == DUMP_REQ and not body:
        return Dump()
    if tag == PORT_PLEASE2_REQ and 1 <= len(body) <= MAX_NAME:
        return PortPlease2(_name_text(body))
    if tag == ALIVE2_REQ:
        return _decode_alive2(body)
    raise ProtocolError(f"an unknown request to epmd: tag {tag} with {len(body)} bytes")


def _decode_alive2(body: bytes) -> Alive2:
    """ALIVE2's fields, which PORT2_RESP repeats."""
    try:
        port, node_type, protocol, highest, lowest = _ALIVE2.unpack_from(body)
        name, rest = _counted(body[_ALIVE2.size :])
        extra, rest = _counted(rest)
    except struct.error:
        raise ProtocolError(f"a registration of {len(body)} bytes is cut off") from None
    if rest or not 1 <= len(name) <= MAX_NAME:
        raise ProtocolError("the lengths in a registration do not fit its bytes")
    return Alive2(_name_text(name), port, node_type, protocol, highest, lowest, extra)


def _counted(data: bytes) -> tuple[bytes, bytes]:
    """A piece that stands behind its length, and what follows."""
    (size,) = _U16.unpack_from(data)
    rest = data[_U16.size :]
    if len(rest) < size:
        raise ProtocolError(f"{size} bytes are claimed, {len(rest)} are there")
    return rest[:size], rest[size:]


def encode_names_reply(reply: NamesReply) -> bytes:
    """The table as epmd sends it."""
    lines = [b"name %b at port %d\n" % (_name_bytes(name), port) for name, port in reply.names.items()]
    return _U32.pack(reply.port) + b"".join(lines)


def decode_names_reply(data: bytes) -> NamesReply:
    """All that came until epmd closed. Errors: ProtocolError.

    A name may have the line of another in it: whether a name is true, PORT_PLEASE2 tells. What is left of such a name
    is no line, and is passed over, so that nobody can spoil the table for all; but a table starts with a line.
    """
    if len(data) < _U32.size:
        raise ProtocolError(f"its table has {len(data)} bytes, not even a port")
    (port,), text = _U32.unpack_from(data), data[_U32.size :]
    if text and not text.endswith(b"\n"):
        raise ProtocolError("its table is cut off")
    names: dict[str, int] = {}
    start = 0
    while start < len(text):
        match = _NAME_LINE.match(text, start)
        if match is None or int(match.group(2)) > 65535:
            if not names:
                raise ProtocolError(f"its table starts with a line that is none: {text[:40]!r}")
            start = text.index(b"\n", start) + 1
            continue
        name = _name_text(match.group(1))
        if len(names) == MAX_EPMD_NAMES and name not in names:
            raise ProtocolError(f"its table has more than {MAX_EPMD_NAMES} names")
        names[name] = int(match.group(2))
        start = match.end()
    return NamesReply(port, names)


def decode_dump_reply(data: bytes) -> dict[str, int]:
    """All that came until epmd closed, as name to descriptor. Errors: ProtocolError.

    What is no active name is passed over: the text is for people, and only OTP's own epmd sends it.
    """
    if len(data) < _U32.size:
        raise ProtocolError(f"its dump has {len(data)} bytes, not even a port")
    found: dict[str, int] = {}
    twice = set()
    for match in _DUMP_LINE.finditer(data, _U32.size):
        name = _name_text(match.group(1))
        if name in found:
            twice.add(name)
        elif len(found) == MAX_EPMD_NAMES:
            raise ProtocolError(f"its dump has more than {MAX_EPMD_NAMES} names")
        found[name] = int(match.group(2))
    # One that is there twice has been forged: a name may have the line of another in it.
    return {name: descriptor for name, descriptor in found.items() if name not in twice}


def encode_port_reply(registration: Alive2 | None) -> bytes:
    """PORT2_RESP: the registration, or that there is none."""
    if registration is None:
        return bytes([PORT2_RESP, 1])
    return bytes([PORT2_RESP, 0]) + encode_request(registration)[3:]


def decode_port_reply(data: bytes) -> Alive2 | None:
    """The registration under a name, None where there is none. Errors: ProtocolError."""
    if len(data) < 2 or data[0] != PORT2_RESP:
        raise ProtocolError(f"its answer about a name starts with {data[:2]!r}")
    if data[1] != 0:
        return None
    return _decode_alive2(data[2:])


def encode_alive2_reply(reply: Alive2Reply) -> bytes:
    """ALIVE2_X_RESP, or ALIVE2_RESP where the creation is to be short."""
    if reply.wide:
        return b"%c%c%b" % (ALIVE2_X_RESP, reply.result, _U32.pack(reply.creation))
    return b"%c%c%b" % (ALIVE2_RESP, reply.result, _U16.pack(reply.creation))


def decode_alive2_reply(data: bytes) -> Alive2Reply:
    """The answer to ALIVE2 in either form. Errors: ProtocolError."""
    if len(data) == 6 and data[0] == ALIVE2_X_RESP:
        return Alive2Reply(data[1], int.from_bytes(data[2:], "big"), wide=True)
    if len(data) == 4 and data[0] == ALIVE2_RESP:
        return Alive2Reply(data[1], int.from_bytes(data[2:], "big"), wide=False)
    raise ProtocolError(f"its answer to a registration is none: {data[:8]!r}")


def render(port: int, names: dict[str, int] | None) -> str:
    """A table as `epmd -names` prints it; None is an epmd that is down."""
    if names is None:
        return "epmd: Cannot connect to local epmd\n"
    lines = [f"name {legible(name)} at port {value}\n" for name, value in sorted(names.items())]
    return f"epmd: up and running on port {port} with data:\n" + "".join(lines)
