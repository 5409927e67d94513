# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution handshake as the connecting side: packets in, packets out. Pure. Private to the collection.

Standard: ERTS User's Guide, "Distribution Protocol", section "Distribution Handshake"; `dist_util.erl` of kernel.
A packet is what follows a length; the length itself is not part of it.

    we                                  the node
    send_name (N, or n before OTP 23)   ->
                                        <-  status (s)
    status (s): false                   ->      only after "alive"
                                        <-  challenge (N, or n before OTP 23)
    complement (c)                      ->      only where N answered n
    challenge reply (r)                 ->
                                        <-  challenge acknowledgement (a)

The caller drives it: `start`, then `receive` for every packet, sending what they return. At State.CHALLENGED the peer
has sent its full name and waits: close the connection there and the node logs nothing, or go on with `reply`, which
needs the cookie. At State.REFUSED `refusal` says why; at State.CONNECTED the peer has proved that it knows the cookie.
"""

from __future__ import annotations

import enum
import struct
from typing import Callable

from .._errors import ProtocolError
from .._limits import MAX_NAME
from .._record import Record
from .cursor import U16, U32, Cursor

# Distribution flags, as dist.hrl names them.
DFLAG_EXTENDED_REFERENCES = 0x4
DFLAG_FUN_TAGS = 0x10
DFLAG_NEW_FUN_TAGS = 0x80
DFLAG_EXTENDED_PIDS_PORTS = 0x100
DFLAG_EXPORT_PTR_TAG = 0x200
DFLAG_BIT_BINARIES = 0x400
DFLAG_NEW_FLOATS = 0x800
DFLAG_UTF8_ATOMS = 0x10000
DFLAG_MAP_TAG = 0x20000
DFLAG_BIG_CREATION = 0x40000
DFLAG_HANDSHAKE_23 = 0x1000000
DFLAG_UNLINK_ID = 0x2000000
DFLAG_MANDATORY_25_DIGEST = 0x4000000
DFLAG_NAME_ME = 1 << 33
DFLAG_V4_NC = 1 << 34

MANDATORY_25 = (
    DFLAG_EXTENDED_REFERENCES
    | DFLAG_FUN_TAGS
    | DFLAG_NEW_FUN_TAGS
    | DFLAG_EXTENDED_PIDS_PORTS
    | DFLAG_EXPORT_PTR_TAG
    | DFLAG_BIT_BINARIES
    | DFLAG_NEW_FLOATS
    | DFLAG_UTF8_ATOMS
    | DFLAG_MAP_TAG
    | DFLAG_BIG_CREATION
    | DFLAG_HANDSHAKE_23
)
MANDATORY_26 = DFLAG_V4_NC | DFLAG_UNLINK_ID

# Hidden (no DFLAG_PUBLISHED); without atom cache and fragments, so that each message is complete and self-contained.
OUR_FLAGS = MANDATORY_25 | MANDATORY_26 | DFLAG_MANDATORY_25_DIGEST

OLD_VERSION = 5

_OLD_NAME = struct.Struct(">cHI")
_NAME = struct.Struct(">cQIH")
_OLD_CHALLENGE = struct.Struct(">cHII")
_CHALLENGE = struct.Struct(">cQIIH")
_REPLY = struct.Struct(">cI16s")
_COMPLEMENT = struct.Struct(">cII")


class State(enum.Enum):
    """How far a handshake has come, as the connecting side sees it."""

    NEW = "new"
    NAME_SENT = "name sent"
    ACCEPTED = "accepted"
    CHALLENGED = "challenged"
    REPLIED = "replied"
    CONNECTED = "connected"
    REFUSED = "refused"


class Peer(Record):
    """The node according to its challenge: full name, distribution flags, creation (0 before OTP 23)."""

    name: str
    flags: int
    creation: int


def _text(data: bytes) -> str:
    # `atom_to_binary(Node, latin1)` in dist_util.erl, on every release.
    return data.decode("latin-1")


def _is_control(character: str) -> bool:
    return character < " " or character == "\x7f"


class Handshake:
    """One handshake with one node.

    name: our name; with `dynamic` only the host part, to which the node lends the rest (NAME_ME).
    old: speak version 5, for nodes before OTP 23, which has no dynamic names.
    challenge: our own challenge, 32 random bits.
    """

    def __init__(self, name: str, challenge: int, dynamic: bool = True, old: bool = False) -> None:
        if old and dynamic:
            raise ValueError("handshake version 5 has no dynamic names")
        self.state = State.NEW
        self.name = name
        self.creation = 0
        self.peer: Peer | None = None
        self.refusal = ""
        self._dynamic = dynamic
        self._old = old
        self._challenge = challenge
        self._peer_challenge = 0  # pragma: no mutate: set before it is read
        self._complement = b""
        self._cookie = b""
        self._flags = OUR_FLAGS | (DFLAG_NAME_ME if dynamic else 0)

    def start(self) -> bytes:
        """The packet send_name. Errors: RuntimeError unless the handshake is new."""
        self._expect(State.NEW)
        self.state = State.NAME_SENT
        name = self.name.encode("latin-1")
        if self._old:
            flags = self._flags & 0xFFFFFFFF  # pragma: no mutate: the lowest flag, DFLAG_PUBLISHED, is never ours
            return _OLD_NAME.pack(b"n", OLD_VERSION, flags) + name
        return _NAME.pack(b"N", self._flags, self.creation, len(name)) + name

    def receive(self, packet: bytes) -> bytes:
        """Take one packet of the peer, and return the packet to send now, or b"" for none.

        Errors: ProtocolError for a packet that is malformed or not expected in this state, which then stays the same.
        """
        handler = _TABLE.get((self.state, packet[:1]))
        if handler is None:
            raise ProtocolError(
                f"a packet of {len(packet)} bytes that starts with {packet[:8]!r} is not expected in the handshake's "
                f"state {self.state.value!r}"
            )
        return handler(self, packet)

    def reply(self, cookie: bytes) -> list[bytes]:
        """The challenge reply, after the complement if one is due. Errors: RuntimeError unless CHALLENGED."""
        from .digest import digest

        self._expect(State.CHALLENGED)
        self.state = State.REPLIED
        self._cookie = cookie
        packet = _REPLY.pack(b"r", self._challenge, digest(cookie, self._peer_challenge))
        return [part for part in (self._complement, packet) if part]

    def _expect(self, state: State) -> None:
        """Our own steps out of order are a defect of this collection, and no error of the peer."""
        if self.state is not state:
            raise RuntimeError(f"the handshake's state is {self.state.value!r}, and has to be {state.value!r}")

    def _refuse(self, why: str) -> bytes:
        self.state = State.REFUSED
        self.refusal = why
        return b""

    def _on_status(self, packet: bytes) -> bytes:
        status = packet[1:]
        if status.startswith(b"named:"):
            return self._on_named(status[len(b"named:") :])
        if status == b"not_allowed":
            # Of a dynamic name the node has only the host part at this point, and looks for that.
            return self._refuse(
                f"it does not allow us to connect: call net_kernel:allow(['{self.name}']) in it (if it still refuses, "
                "it requires a distribution flag that we do not offer)"
            )
        if status == b"nok":
            return self._refuse("it is connecting to a node of our name at this moment; try again")
        if status == b"alive":
            # The answer "true" would make the node cut the other connection.
            self._refuse("another run is connected to it at this moment; try again")
            return b"sfalse"
        if status not in (b"ok", b"ok_simultaneous"):
            raise ProtocolError(f"an unknown handshake status {status[:20]!r}")
        if self._dynamic:
            raise ProtocolError(f"the handshake status {status!r}, which does not lend us a name")
        self.state = State.ACCEPTED
        return b""

    def _on_named(self, rest: bytes) -> bytes:
        """`named:`, then the name that it lends with its length, and a creation; what follows is ignored."""
        if not self._dynamic:
            raise ProtocolError("it lends us a name that we did not ask for")
        cursor = Cursor(rest, "the name that it lends us")
        name = _text(cursor.counted(U16))
        creation = cursor.number(U32)
        alive, _at, host = name.partition("@")
        if not alive or host != self.name or len(name) > MAX_NAME:
            raise ProtocolError(f"it lends us an invalid name: {name[:40]!r}")
        self.name, self.creation = name, creation
        self.state = State.ACCEPTED
        return b""

    def _on_challenge(self, packet: bytes) -> bytes:
        """`N`: what follows the name is ignored, as the standard says."""
        cursor = Cursor(packet, "its challenge")
        _tag, flags, challenge, creation, size = cursor.fields(_CHALLENGE)
        name = cursor.take(size)
        if self._old:
            self._complement = _COMPLEMENT.pack(b"c", self._flags >> 32, self.creation)
        return self._challenged(name, challenge, flags, creation)

    def _on_old_challenge(self, packet: bytes) -> bytes:
        if not self._old:
            raise ProtocolError("it answers handshake version 6 with a challenge of version 5")
        cursor = Cursor(packet, "its challenge")
        _tag, _version, flags, challenge = cursor.fields(_OLD_CHALLENGE)
        return self._challenged(cursor.rest(), challenge, flags, 0)

    def _challenged(self, name: bytes, challenge: int, flags: int, creation: int) -> bytes:
        text = _text(name)
        alive, _at, host = text.partition("@")
        if not alive or not host or "@" in host or len(text) > MAX_NAME or any(map(_is_control, text)):
            raise ProtocolError(f"it calls itself {text[:80]!r}, which is not a valid node name")
        if flags & DFLAG_MANDATORY_25_DIGEST:
            flags |= MANDATORY_25
        self._peer_challenge = challenge
        self.peer = Peer(text, flags, creation)
        self.state = State.CHALLENGED
        return b""

    def _on_acknowledgement(self, packet: bytes) -> bytes:
        from . import digest

        if not digest.agrees(packet[1:], self._cookie, self._challenge):
            return self._refuse("it does not know the cookie that it should share with us")
        self.state = State.CONNECTED
        return b""


_TABLE: dict[tuple[State, bytes], Callable[[Handshake, bytes], bytes]] = {
    (State.NAME_SENT, b"s"): Handshake._on_status,
    (State.ACCEPTED, b"N"): Handshake._on_challenge,
    (State.ACCEPTED, b"n"): Handshake._on_old_challenge,
    (State.REPLIED, b"a"): Handshake._on_acknowledgement,
}
