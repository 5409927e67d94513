# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An Erlang VM that makes, reads and compares terms: the second opinion on our decoder. Its program: reference.erl.

Terms are bytes with their version magic here, and a text that tells two terms apart, which reference.erl describes.
"""

from __future__ import annotations

import os
import select
import struct
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ._process import Closable, end, output_of, spawn

if TYPE_CHECKING:
    from ._otp import Otp

_PROGRAM = Path(__file__).parent / "reference.erl"
_COMPILE = 'halt(case compile:file("{program}", [{{outdir, "{directory}"}}]) of {{ok, _}} -> 0; error -> 1 end).'
_ATOMS = 4_000_000
"""How many a VM may have before it is started anew: mutated terms have ever new ones."""


class Read(NamedTuple):
    """What a VM makes of bytes: how many it used, the text of the term, and how it would send it."""

    used: int
    text: bytes
    encoded: bytes


ENDED = Read(0, b"", b"")
"""OTP 23 crashes on some bytes that newer ones refuse."""


class Reference(Closable):
    """A VM of this OTP."""

    def __init__(self, otp: Otp) -> None:
        self._otp = otp
        self._directory = tempfile.TemporaryDirectory(prefix="beamops-lab-")
        home = Path(self._directory.name)
        self._log = home / "log"
        self._environment = otp.environment(HOME=str(home), ERL_CRASH_DUMP_SECONDS="0")
        try:
            compile_it = _COMPILE.format(program=_PROGRAM, directory=home)
            output_of([otp.erlexec, "-noinput", "-eval", compile_it], "the compiler", home, self._environment)
            self._start()
        except BaseException:
            self._directory.cleanup()
            raise

    def _start(self) -> None:
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        command: list[str | Path] = [self._otp.erlexec, "+t", str(2 * _ATOMS), "-noinput", "-pa", self._directory.name]
        command += ["-eval", "spawn(reference, main, []).", "-extra", str(requests), str(replies)]
        try:
            with self._log.open("wb") as log:
                self._process = spawn(command, env=self._environment, output=log, pass_fds=(requests, replies))
        finally:
            os.close(requests)
            os.close(replies)

    def _stop(self) -> None:
        end(self._process)
        os.close(self._requests)
        os.close(self._replies)

    def close(self) -> None:
        """End it."""
        self._stop()
        self._directory.cleanup()

    def make(self, seed: int, count: int) -> list[tuple[bytes, bytes]]:
        """So many terms of any kind, as term_to_binary with any options makes them, each with its text."""
        if struct.unpack(">I", self._ask(b"size"))[0] > _ATOMS:
            self._stop()
            self._start()
        found = _parts(self._ask(b"make" + struct.pack(">QI", seed, count)))
        return list(zip(found[::2], found[1::2], strict=True))

    def same(self, terms: Iterable[bytes]) -> list[bool]:
        """Whether each of these is the same term as the one that was made last in this place (`=:=`)."""
        return [mark == ord("+") for mark in self._ask(b"same" + _joined(terms))]

    def read(self, terms: Iterable[bytes]) -> list[Read | None]:
        """What binary_to_term makes of each of these; None if it refuses it, ENDED if that is the end of the VM."""
        asked = list(terms)
        try:
            found = _parts(self._ask(b"read" + _joined(asked)))
        except EOFError:
            self._stop()
            self._start()
            middle = len(asked) // 2
            return [*self.read(asked[:middle]), *self.read(asked[middle:])] if middle else [ENDED]
        return [
            Read(int.from_bytes(used, "big"), text, encoded) if used else None
            for used, text, encoded in zip(found[::3], found[1::3], found[2::3], strict=True)
        ]

    def digests(self, asked: Iterable[tuple[bytes, int]]) -> list[bytes]:
        """The digests of cookies and challenges."""
        found = self._ask(b"hash" + _joined(struct.pack(">I", challenge) + cookie for cookie, challenge in asked))
        return [found[start : start + 16] for start in range(0, len(found), 16)]

    def _ask(self, request: bytes, seconds: float = 300) -> bytes:
        deadline = time.monotonic() + seconds
        left = memoryview(struct.pack(">I", len(request)) + request)
        while left:
            left = left[os.write(self._requests, left[:65536]) :]
        (size,) = struct.unpack(">I", self._receive(4, deadline))
        return self._receive(size, deadline)

    def _receive(self, size: int, deadline: float) -> bytes:
        parts = []
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        while size:
            if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
                raise TimeoutError("the reference does not answer")
            part = os.read(self._replies, min(size, 1 << 20))
            if not part:
                self._process.wait(30)
                raise EOFError(f"the reference has ended: {self._log.read_text(errors='replace')}")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _parts(data: bytes) -> list[bytes]:
    found, position = [], 0
    while position < len(data):
        (size,) = struct.unpack_from(">I", data, position)
        found.append(data[position + 4 : position + 4 + size])
        position += 4 + size
    return found
