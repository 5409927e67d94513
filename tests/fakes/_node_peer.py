# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's side of a handshake, written from `dist_util.erl` and not from the collection."""

from __future__ import annotations

import hashlib
import struct

COOKIE = b"MonsterCookie"
THEIRS = 0xFFFFFFFF
CREATION = 0x65F00D42

# From include/dist.hrl of kernel 8.5.3 (OTP 25), by hand.
MANDATORY_DFLAGS_25 = 0x4 | 0x10 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x20000 | 0x40000 | 0x1000000
PUBLISHED = 0x1
ATOM_CACHE = 0x2
DIST_HDR_ATOM_CACHE = 0x2000
FRAGMENTS = 0x800000
HANDSHAKE_23 = 0x1000000
UNLINK_ID = 0x2000000
MANDATORY_25_DIGEST = 0x4000000
NAME_ME = 2 << 32
V4_NC = 4 << 32


class Refusal(Exception):
    """The peer closes the connection."""


class NodePeer:
    """The accepting side, `handshake_other_started` in dist_util.erl of OTP 23 (which speaks both) and 25."""

    def __init__(
        self, name: str = "ejabberd@web1", cookie: bytes = COOKIE, version: int = 25, status: bytes = b"ok"
    ) -> None:
        self.name = name.encode("latin-1")
        self.cookie = cookie
        self.version = version
        self.status = status
        self.flags = MANDATORY_DFLAGS_25 | UNLINK_ID | NAME_ME | V4_NC if version >= 23 else 0x7499C | 0x10000
        self.other_flags = 0
        self.other_name = b""
        self.other_creation = -1

    def on_name(self, packet: bytes) -> list[bytes]:
        """recv_name, mark_pending, send_status, send_challenge."""
        if packet[:1] == b"N" and self.version >= 23:
            self.other_flags, self.other_creation, size = struct.unpack_from(">QIH", packet, 1)
            self.other_name = packet[15 : 15 + size]
            assert len(self.other_name) == size
        elif packet[:1] == b"n" and self.version < 25:
            version, self.other_flags = struct.unpack_from(">HI", packet, 1)
            assert version == 5
            self.other_name = packet[7:]
        else:
            raise Refusal
        dynamic = bool(self.other_flags & NAME_ME)
        if self.other_name.count(b"@") != (0 if dynamic else 1):
            raise Refusal
        if self.version >= 25 and self.missing(self.other_flags):
            return [b"snot_allowed"]
        if dynamic:
            self.other_name = b"1F2E3D4C5B6A@" + self.other_name
            name = self.other_name
            return [b"snamed:" + struct.pack(">H", len(name)) + name + struct.pack(">I", 7), self.challenge()]
        return [b"s" + self.status, self.challenge()]

    @staticmethod
    def missing(flags: int) -> int:
        if flags & MANDATORY_25_DIGEST:
            flags |= MANDATORY_DFLAGS_25
        return MANDATORY_DFLAGS_25 & ~flags

    def challenge(self) -> bytes:
        if self.version >= 23 and self.other_flags & HANDSHAKE_23:
            return b"N" + struct.pack(">QIIH", self.flags, THEIRS, CREATION, len(self.name)) + self.name
        return b"n" + struct.pack(">HII", 5, self.flags & 0xFFFFFFFF, THEIRS) + self.name

    def on_complement(self, packet: bytes) -> None:
        tag, high, self.other_creation = struct.unpack(">cII", packet)
        assert tag == b"c"
        self.other_flags |= high << 32

    def on_reply(self, packet: bytes) -> bytes:
        """recv_challenge_reply, send_challenge_ack."""
        tag, challenge, theirs = struct.unpack(">cI16s", packet)
        assert tag == b"r"
        if theirs != hashlib.md5(self.cookie + str(THEIRS).encode()).digest():
            raise Refusal
        return b"a" + hashlib.md5(self.cookie + str(challenge).encode()).digest()
