# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worst bytes within the limits cost much less than 64 MiB and some seconds; the limits stay below Python's own.

For `module_utils/_limits.py`. That each limit holds is tested with the file that it limits.
"""

from __future__ import annotations

import contextlib
import struct
import time
from typing import Callable

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError
from ansible_collections.beamops.epmd.plugins.module_utils._host import (
    certificates,
    command_line,
    erlang_terms,
    linux,
    sock_diag,
    systemd,
)
from ansible_collections.beamops.epmd.plugins.module_utils._legible import legible
from ansible_collections.beamops.epmd.plugins.module_utils._wire import control, epmd, etf
from ansible_collections.beamops.epmd.tests.fakes import HOSTILE_MEBIBYTES, grows_by_less_than
from ansible_collections.beamops.epmd.tests.unit.fuzz import targets

SECONDS = 10
"""Of the processor. None takes half a second; a decoder that is quadratic takes minutes."""

MESSAGE = b"p\x83h\x03a\x02w\0" + etf.encode(targets.CALLER) + b"\x83h\x02" + etf.encode(targets.REFERENCE)


def filled(head: bytes, piece: bytes, size: int, tail: bytes = b"") -> bytes:
    """As many pieces as fit between head and tail."""
    return head + piece * ((size - len(head) - len(tail)) // len(piece)) + tail


def listed(piece: bytes) -> bytes:
    """A list of as many of these terms as fit into a message."""
    size = _limits.MAX_MESSAGE - len(MESSAGE) - 6
    return MESSAGE + b"l" + struct.pack(">I", size // len(piece)) + piece * (size // len(piece)) + b"j"


def answer(packet: bytes) -> None:
    assert len(packet) <= _limits.MAX_MESSAGE
    with contextlib.suppress(EpmdError):
        found = control.answer(packet, targets.CALLER, targets.REFERENCE)
        assert found is not None
        repr(etf.decode(found))


def consult(text: bytes) -> None:
    with contextlib.suppress(EpmdError):
        certificates.choose(certificates.sections(text.decode(), "x"), "x")


def names(data: bytes) -> None:
    with contextlib.suppress(EpmdError):
        "".join(map(legible, epmd.decode_names_reply(data)))


def dump(data: bytes) -> None:
    with contextlib.suppress(EpmdError):
        epmd.decode_dump_reply(data)


def arguments(data: bytes) -> None:
    words = data.decode().split("\0")
    command_line.parse(words, {})
    command_line.shown(words)


def environment(data: bytes) -> None:
    command_line.parse([], linux._environment(data.decode()))


def units(data: bytes) -> None:
    systemd.choose_unit(data.decode(), 4369)


def sockets(data: bytes) -> None:
    with contextlib.suppress(OSError):
        sock_diag.decode(data)


M, T, E, C, O = (  # noqa: E741
    _limits.MAX_MESSAGE,
    _limits.MAX_OPTFILE,
    _limits.MAX_EPMD_REPLY,
    _limits.MAX_COMMAND_LINE,
    _limits.MAX_COMMAND_OUTPUT,
)
WORST: dict[str, tuple[Callable[[bytes], None], bytes]] = {
    "lists without elements": (answer, listed(b"j")),
    "empty atoms": (answer, listed(b"w\0")),
    "small integers": (answer, listed(b"a\1")),
    "maps": (answer, listed(b"t\0\0\0\0")),
    "floats": (answer, listed(b"F\x3f\xf0" + bytes(6))),
    "deep tuples": (answer, listed(b"h\1" * 60 + b"j")),
    "large integers": (answer, listed(b"o" + struct.pack(">IB", 1024, 0) + b"\xff" * 1024)),
    "a string": (answer, MESSAGE + b"k\x3f\0" + b"a" * 0x3F00),
    "terms that are too many": (answer, filled(b"p", b"\x83j", M)),
    "names of one byte": (names, filled(bytes(4), b"name x at port 1\n", E)),
    "as many names as may be": (names, bytes(4) + b"".join(b"name %0200d at port 1\n" % n for n in range(4096))),
    "as many lines of a dump as fit": (dump, filled(bytes(4), b"active name  <x> at port 1, fd = 7\n", E)),
    "as many names of a dump as fit": (
        dump,
        bytes(4) + b"".join(b"active name  <%d> at port 1, fd = 7\n" % n for n in range(25_000)),
    ),
    "starts of a dump": (dump, filled(bytes(4), b"active name  <", E)),
    "line ends": (names, filled(bytes(4), b"\n", E)),
    "one line": (names, filled(bytes(4), b"name x at port ", E, b"\n")),
    "lists in a file": (consult, filled(b"[[]", b",[]", T, b"].")),
    "lists in lists in a file": (consult, filled(b"[[]", b"," + b"[" * 40 + b"]" * 40, T, b"].")),
    "maps in a file": (consult, filled(b"[#{}", b",#{}", T, b"].")),
    "atoms in a file": (consult, filled(b"[a", b",a", T, b"].")),
    "a string in a file": (consult, filled(b'"', b"a", T, b'".')),
    "escapes in a file": (consult, filled(b'"', b"\\a", T, b'".')),
    "a string without an end": (consult, filled(b'"', b"\\a", T)),
    "strings in a file": (consult, filled(b"", b'""', T, b".")),
    "spaces in a file": (consult, filled(b"a", b" %\n", T, b".")),
    "a binary in a file": (consult, filled(b"<<1", b",1", T, b">>.")),
    "pairs in a file": (consult, filled(b"[{client,[{a,b}", b",{a,b}", T, b"]}].")),
    "flags": (arguments, filled(b"x\0--\0", b"-a\0", C)),
    "words": (arguments, filled(b"x\0--\0-a\0", b"a\0", C)),
    "dashes": (arguments, filled(b"x\0", b"--\0", C)),
    "variables": (environment, b"".join(b"%05x=\0" % n for n in range(_limits.MAX_ENVIRONMENT // 7))),
    "properties": (units, filled(b"Id=epmd.service\n", b"A=\n", O)),
    "blocks": (units, filled(b"", b"A=\n\n", O)),
    "headers": (sockets, filled(b"", struct.pack("=IHHII", 16, 20, 0, 0, 0), 1 << 16)),
    "sockets": (sockets, filled(b"", struct.pack("=IHHII", 72, 20, 0, 0, 0) + b"\2" + bytes(55), 1 << 16)),
}


@pytest.mark.parametrize("name", WORST)
def test_the_worst_within_the_limits_costs_little(name: str) -> None:
    run, data = WORST[name]
    started = time.process_time()
    with grows_by_less_than(HOSTILE_MEBIBYTES):
        run(data)
    assert time.process_time() - started < SECONDS


def test_limits_stay_below_those_of_python() -> None:
    """Deeper, Python would end the recursion; longer, it would not print a number."""
    deep = etf.decode(b"h\1" * _limits.MAX_DEPTH + b"j")
    assert repr(deep).count("(") == _limits.MAX_DEPTH
    text = "[" * _limits.MAX_DEPTH + "]" * _limits.MAX_DEPTH + "."
    assert erlang_terms.consult(text)
    assert len(str(2 ** (8 * _limits.MAX_INTEGER_BYTES))) < 4300
    assert len(str(erlang_terms.consult("1" * _limits.MAX_DIGITS + "."))) > _limits.MAX_DIGITS
