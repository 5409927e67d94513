# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A position in bytes from a peer; the decoders read through it, so that bounds are checked in one place. Pure.

Standard: none; numbers are big-endian in all formats that are read with it. Private to the collection.
"""

from __future__ import annotations

import struct
from typing import Any, TypeVar

from .._errors import ProtocolError

C = TypeVar("C", bound="Cursor")

U8 = struct.Struct(">B")
U16 = struct.Struct(">H")
U32 = struct.Struct(">I")


class Cursor:
    """Reads `data` from `position` to `end`, which is the end of the bytes unless given.

    what: what the bytes are, for the messages ("its table").
    Errors of all methods: ProtocolError if fewer bytes are left than asked for.
    """

    def __init__(self, data: bytes, what: str, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.what = what
        self.position = position
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """The number of bytes that are left."""
        return self.end - self.position

    def _step(self, size: int) -> int:
        """Step over this many bytes (0 or more), and return the offset of the first. The only check of bounds."""
        start = self.position
        if size > self.end - start:
            raise ProtocolError(f"{self.what} is cut off: {size} bytes expected at offset {start}, {self.left} left")
        self.position = start + size
        return start

    def byte(self) -> int:
        """The next byte, as a number."""
        return self.data[self._step(1)]

    def take(self, size: int) -> bytes:
        """The next bytes, this many."""
        start = self._step(size)
        return self.data[start : self.position]

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(self.left)

    def number(self, kind: struct.Struct) -> int:
        """A number of this kind."""
        value: int
        (value,) = kind.unpack_from(self.data, self._step(kind.size))
        return value

    def fields(self, kind: struct.Struct) -> tuple[Any, ...]:
        """The fields of a struct of this kind."""
        return kind.unpack_from(self.data, self._step(kind.size))

    def counted(self, kind: struct.Struct) -> bytes:
        """Bytes that follow their own length, a number of this kind."""
        return self.take(self.number(kind))

    def piece(self: C, size: int, what: str) -> C:
        """A cursor over the next bytes alone, this many; end it with `done`. Offsets stay those of the whole."""
        start = self._step(size)
        return type(self)(self.data, what, start, self.position)

    def done(self) -> None:
        """Make sure that all was read. Errors: ProtocolError."""
        if self.left:
            raise ProtocolError(f"unexpected bytes after {self.what}: {self.data[self.position : self.end][:8]!r}")
