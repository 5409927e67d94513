# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of a fake node of OTP 17 to 22, which Debian no longer has: it takes the place of `beam.smp`.

Standard: ERTS User's Guide, "Distribution Protocol" and "External Term Format"; dist_util.erl,
net_kernel.erl, erl_epmd.erl and rpc.erl of kernel 3.0 (OTP 17) and 6.5 (OTP 22); dist.h and
external.c of their erts. Of the calls that a real node answers, it knows only `erl_epmd:register_node/2`.

It is a second opinion, so it shares no code with the collection.
Usage: _old_emulator.py RELEASE -- -sname NAME@HOST -setcookie COOKIE -epmd_port PORT [-allow NODE]
       [-kernel net_setuptime SECONDS]
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

PUBLISHED = 0x1
EXTENDED_REFERENCES = 0x4
NEW_FUN_TAGS = 0x80
EXTENDED_PIDS_PORTS = 0x100
DIST_HDR_ATOM_CACHE = 0x2000
UTF8_ATOMS = 0x10000

EPMD_SECONDS = 10
PASS_THROUGH = 112
VERSION_MAGIC = 131
SEND = 2
REG_SEND = 6

NEW_PID_EXT = 88
NEWER_REFERENCE_EXT = 90
SMALL_INTEGER_EXT = 97
INTEGER_EXT = 98
ATOM_EXT = 100
PID_EXT = 103
SMALL_TUPLE_EXT = 104
NIL_EXT = 106
STRING_EXT = 107
LIST_EXT = 108
BINARY_EXT = 109
NEW_REFERENCE_EXT = 114
SMALL_ATOM_EXT = 115
ATOM_UTF8_EXT = 118
SMALL_ATOM_UTF8_EXT = 119


class Release(NamedTuple):
    """The differences between releases.

    flags: its flags. common: those of them that it sends only to a peer that has them, too. mandatory: those that a
    peer has to have. wide: whether it reads creations of 32 bits.
    """

    flags: int
    common: int
    mandatory: int
    wide: bool


RELEASES = {
    17: Release(0x37FFD, PUBLISHED, EXTENDED_REFERENCES | EXTENDED_PIDS_PORTS, wide=False),
    22: Release(0xDF7FBD, 0xFFFFFFFF, EXTENDED_REFERENCES | EXTENDED_PIDS_PORTS | UTF8_ATOMS | NEW_FUN_TAGS, wide=True),
}


class Broken(Exception):
    """Input for which a real node closes the connection."""


class Atom(str):
    """An atom, as opposed to a string."""

    __slots__ = ()


class Identity(NamedTuple):
    """A pid or a reference, which is only sent back: its tag, its node, and the bytes before and after the node."""

    tag: int
    node: Atom
    head: bytes
    tail: bytes


class Reader:
    """The terms in a message, one after the other."""

    def __init__(self, data: bytes, release: Release) -> None:
        self._data = data
        self._at = 0
        self._release = release

    def message(self) -> Any:
        """The next term, after a version magic."""
        if self._number("B") != VERSION_MAGIC:
            raise Broken("no version magic")
        return self._term()

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)

    def _take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise Broken("a term is cut off")
        self._at += size
        return piece

    def _number(self, form: str) -> int:
        value: int = struct.unpack(f">{form}", self._take(struct.calcsize(f">{form}")))[0]
        return value

    def _term(self) -> Any:
        tag = self._number("B")
        if tag == SMALL_INTEGER_EXT:
            return self._number("B")
        if tag == INTEGER_EXT:
            return self._number("i")
        if tag in (ATOM_EXT, ATOM_UTF8_EXT):
            return Atom(self._take(self._number("H")).decode("latin-1" if tag == ATOM_EXT else "utf-8"))
        if tag in (SMALL_ATOM_EXT, SMALL_ATOM_UTF8_EXT):
            return Atom(self._take(self._number("B")).decode("latin-1" if tag == SMALL_ATOM_EXT else "utf-8"))
        if tag == SMALL_TUPLE_EXT:
            return tuple(self._term() for _unused in range(self._number("B")))
        if tag == NIL_EXT:
            return []
        if tag == STRING_EXT:
            return list(self._take(self._number("H")))
        if tag == LIST_EXT:
            items = [self._term() for _unused in range(self._number("I"))]
            return items + self._term()
        if tag == BINARY_EXT:
            return self._take(self._number("I"))
        if tag in (PID_EXT, NEW_PID_EXT) and self._knows(tag):
            return self._pid(tag)
        if tag in (NEW_REFERENCE_EXT, NEWER_REFERENCE_EXT) and self._knows(tag):
            return self._reference(tag)
        raise Broken(f"unknown tag {tag}")

    def _knows(self, tag: int) -> bool:
        return self._release.wide or tag not in (NEW_PID_EXT, NEWER_REFERENCE_EXT)

    def _node(self) -> Atom:
        node = self._term()
        if not isinstance(node, Atom):
            raise Broken("a node that is not an atom")
        return node

    def _pid(self, tag: int) -> Identity:
        node, tail = self._node(), self._take(9 if tag == PID_EXT else 12)
        number, serial, creation = struct.unpack(">IIB" if tag == PID_EXT else ">III", tail)
        if number >= 1 << 15 or serial >= 1 << 13 or (tag == PID_EXT and creation > 3):
            raise Broken("an invalid pid")
        return Identity(tag, node, b"", tail)

    def _reference(self, tag: int) -> Identity:
        head = self._take(2)
        count = int.from_bytes(head, "big")
        node, creation = self._node(), self._take(1 if tag == NEW_REFERENCE_EXT else 4)
        tail = self._take(4 * count)
        first = int.from_bytes(tail[:4], "big")
        if not 1 <= count <= 3 or first >= 1 << 18 or (tag == NEW_REFERENCE_EXT and creation[0] > 3):
            raise Broken("an invalid reference")
        return Identity(tag, node, head, creation + tail)


def encode(term: Any, flags: int) -> bytes:
    """A term for a peer with these flags (`enc_term` in external.c)."""
    if isinstance(term, Atom):
        # Atoms outside of Latin-1 do not occur here.
        if flags & UTF8_ATOMS:
            name = term.encode("utf-8")
            return struct.pack(">BB", SMALL_ATOM_UTF8_EXT, len(name)) + name
        name = term.encode("latin-1")
        return struct.pack(">BH", ATOM_EXT, len(name)) + name
    if isinstance(term, int):
        return bytes([SMALL_INTEGER_EXT, term]) if 0 <= term < 256 else struct.pack(">Bi", INTEGER_EXT, term)
    if isinstance(term, Identity):
        return bytes([term.tag]) + term.head + encode(term.node, flags) + term.tail
    if isinstance(term, tuple):
        return struct.pack(">BB", SMALL_TUPLE_EXT, len(term)) + b"".join(encode(item, flags) for item in term)
    if isinstance(term, list):
        if not term:
            return bytes([NIL_EXT])
        if all(isinstance(item, int) and 0 <= item < 256 for item in term):
            return struct.pack(">BH", STRING_EXT, len(term)) + bytes(term)
        items = b"".join(encode(item, flags) for item in term)
        return struct.pack(">BI", LIST_EXT, len(term)) + items + bytes([NIL_EXT])
    raise Broken(f"no encoding for {term!r}")


class Epmd:
    """erl_epmd: keeps the name registered at epmd. A lost name stays lost until register_node is called again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()

    def register_node(self, name: str, port: int) -> Any:
        """The result of `erl_epmd:register_node/2`."""
        with self._lock:
            if self._connection is not None:
                return Atom("error"), Atom("already_registered")
            try:
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=EPMD_SECONDS)
            except ConnectionRefusedError:
                return Atom("error"), Atom("econnrefused")
            reply, why = self._alive2(connection, name.encode("latin-1"), port)
            if why:
                connection.close()
                return Atom("error"), Atom(why)
            self._connection = connection
            threading.Thread(target=self._watch, args=(connection,), daemon=True).start()
            return Atom("ok"), int.from_bytes(reply[2:], "big")

    @staticmethod
    def _alive2(connection: socket.socket, name: bytes, port: int) -> tuple[bytes, str]:
        """Send ALIVE2 with distribution version 5 alone; returns the reply, and the error (empty for success)."""
        body = struct.pack(">BHBBHHH", 120, port, 77, 0, 5, 5, len(name)) + name + b"\0\0"
        reply = b""
        try:
            connection.sendall(struct.pack(">H", len(body)) + body)
            while len(reply) < 4:
                part = connection.recv(4 - len(reply))
                if not part:
                    return reply, "epmd_close"
                reply += part
        except TimeoutError:
            return reply, "no_reg_reply_from_epmd"
        if reply[0] != 121:
            return reply, "garbage_from_epmd"
        return reply, "duplicate_name" if reply[1] else ""

    def _watch(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        while receive(connection, 1):
            pass
        with self._lock:
            self._connection = None
            connection.close()


class Link(NamedTuple):
    """A connection to another node: `up`, or still in the handshake."""

    socket: socket.socket
    up: bool


class Emulator:
    """The node: its listener, its connections, its `rex`."""

    def __init__(self, release: int, flags: Mapping[str, str]) -> None:
        self._release = RELEASES[release]
        self._name = flags["-sname"]
        self._cookie = flags["-setcookie"].encode("latin-1")
        self._allowed = flags.get("-allow")
        self._setup_seconds = float(flags.get("net_setuptime", "7"))
        self._epmd = Epmd(int(flags["-epmd_port"]))
        self._links: dict[str, Link] = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("0.0.0.0", 0), backlog=128)

    def run(self) -> None:
        """Register the name, and accept connections for ever."""
        reply = self._epmd.register_node(self._name.partition("@")[0], self._listener.getsockname()[1])
        if reply[0] != "ok":
            sys.exit(f"Protocol: register error: {reply!r}")
        while True:
            connection, _peer = self._listener.accept()
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        connection.settimeout(self._setup_seconds)
        with connection:
            try:
                self._handshake(connection)
            except (Broken, OSError, UnicodeDecodeError):
                return

    def _handshake(self, connection: socket.socket) -> None:
        """handshake_other_started."""
        packet = receive_packet(connection, 2)
        if packet[:1] != b"n" or len(packet) < 7:
            raise Broken("not a send_name")
        version, other_flags = struct.unpack_from(">HI", packet, 1)
        other = packet[7:].decode("latin-1")
        if other.count("@") != 1:
            raise Broken("not a node name")
        if self._release.mandatory & ~other_flags or self._allowed not in (None, other):
            send_packet(connection, 2, b"snot_allowed")
            say(f"** Connection attempt from disallowed node {other} **")
            return
        flags = self._release.flags & (other_flags | ~self._release.common)
        try:
            if self._mark_pending(connection, other):
                self._authenticate(connection, other, version, flags)
                self._loop(connection, other_flags & flags)
        finally:
            with self._lock:
                if other in self._links and self._links[other].socket is connection:
                    del self._links[other]

    def _mark_pending(self, connection: socket.socket, other: str) -> bool:
        """accept_pending of net_kernel: send the status; returns whether the handshake goes on."""
        with self._lock:
            link = self._links.get(other)
            if link is None:
                status = b"ok"
            elif link.up:
                status = b"alive"
            elif self._name > other:
                status = b"nok"
            else:
                # Both nodes are connecting to each other: the other one's connection is kept.
                status = b"ok_simultaneous"
                with contextlib.suppress(OSError):
                    link.socket.shutdown(socket.SHUT_RDWR)
            if status.startswith(b"ok"):
                self._links[other] = Link(connection, up=False)
        send_packet(connection, 2, b"s" + status)
        if status == b"alive":
            # "true" would mean to wait until the old connection is gone; no real node sends it.
            receive_packet(connection, 2)
        return status.startswith(b"ok")

    def _authenticate(self, connection: socket.socket, other: str, version: int, flags: int) -> None:
        challenge = int.from_bytes(os.urandom(4), "big")
        head = struct.pack(">cHII", b"n", version, flags, challenge)
        send_packet(connection, 2, head + self._name.encode("latin-1"))
        reply = receive_packet(connection, 2)
        if reply[:1] != b"r" or len(reply) != 21:
            raise Broken("not a challenge reply")
        if reply[5:] != self._digest(challenge):
            say(f"** Connection attempt from disallowed node {other} **")
            raise Broken("a digest of another cookie")
        send_packet(connection, 2, b"a" + self._digest(int.from_bytes(reply[1:5], "big")))
        with self._lock:
            self._links[other] = Link(connection, up=True)

    def _digest(self, challenge: int) -> bytes:
        return hashlib.md5(self._cookie + str(challenge).encode()).digest()

    def _loop(self, connection: socket.socket, flags: int) -> None:
        """con_loop, and how the emulator handles messages. An empty packet is a tick."""
        if flags & DIST_HDR_ATOM_CACHE:
            raise Broken("distribution headers are not supported")
        connection.settimeout(None)
        while True:
            packet = receive_packet(connection, 4)
            if not packet:
                continue
            if packet[0] != PASS_THROUGH:
                raise Broken("not a message")
            reader = Reader(packet[1:], self._release)
            control = reader.message()
            known = isinstance(control, tuple) and len(control) == 4 and control[0] == REG_SEND
            if not known or not isinstance(control[1], Identity):
                raise Broken("an unexpected control message")
            message = reader.message()
            if not reader.is_done:
                raise Broken("bytes after the message")
            if control[3] == "rex":
                self._rex(connection, flags, message)

    def _rex(self, connection: socket.socket, flags: int, message: Any) -> None:
        """handle_call of rpc.erl, which ignores unknown messages."""
        if not (isinstance(message, tuple) and len(message) == 3 and message[0] == "$gen_call"):
            return
        _tag, (caller, reference), request = message
        if len(request) != 5 or request[0] != "call" or not isinstance(request[4], Identity):
            return
        result = self._apply(*request[1:4])
        # A real node sends ticks to a hidden node, and cuts it off if it never answers; here each reply waits for one.
        send_packet(connection, 4, b"")
        while receive_packet(connection, 4):
            pass
        answer = bytes([PASS_THROUGH])
        for term in ((SEND, Atom(""), caller), (reference, result)):
            answer += bytes([VERSION_MAGIC]) + encode(term, flags)
        send_packet(connection, 4, answer)

    def _apply(self, module: str, function: str, arguments: list[Any]) -> Any:
        if (module, function, len(arguments)) != ("erl_epmd", "register_node", 2):
            trace: list[Any] = [(Atom(module), Atom(function), arguments, [])]
            return Atom("badrpc"), (Atom("EXIT"), (Atom("undef"), trace))
        name, port = arguments
        text = name if isinstance(name, str) else "".join(map(chr, name))
        return self._epmd.register_node(text, port)


def receive(connection: socket.socket, size: int) -> bytes:
    """This many bytes; empty if the peer has closed the connection."""
    data = b""
    while len(data) < size:
        try:
            part = connection.recv(size - len(data))
        except ConnectionResetError:
            part = b""
        if not part:
            return b""
        data += part
    return data


def receive_packet(connection: socket.socket, length: int) -> bytes:
    """Receive a packet with a length field of this many bytes."""
    head = receive(connection, length)
    size = int.from_bytes(head, "big")
    packet = receive(connection, size) if size else b""
    if not head or len(packet) != size:
        raise Broken("closed")
    return packet


def send_packet(connection: socket.socket, length: int, packet: bytes) -> None:
    """Send a packet with a length field of this many bytes."""
    connection.sendall(len(packet).to_bytes(length, "big") + packet)


def say(line: str) -> None:
    """Print a line, as error_logger would."""
    print(line, flush=True)


def main() -> None:
    """Read the command line that erlexec would have made: each word may be a flag, and the next one its value."""
    Emulator(int(sys.argv[1]), dict(zip(sys.argv[2:], sys.argv[3:], strict=False))).run()


if __name__ == "__main__":
    main()
