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
    epmd_units,
    erlang_terms,
    linux,
    sock_diag,
)
from ansible_collections.beamops.epmd.plugins.module_utils._legible import legible
from ansible_collections.beamops.epmd.plugins.module_utils._wire import control, epmd, etf
from ansible_collections.beamops.epmd.tests.fakes import HOSTILE_MEBIBYTES, grows_by_less_than
from ansible_collections.beamops.epmd.tests.unit.fuzz import targets

SECONDS = 10
"""Of the processor. None takes half a second; a decoder that is quadratic takes minutes."""

NOISE = 0.1
"""Seconds of the processor by which two measurements of next to nothing may differ."""

MESSAGE = b"p\x83h\x03a\x02w\0" + etf.encode(targets.CALLER) + b"\x83h\x02" + etf.encode(targets.REFERENCE)


Make = Callable[[int], bytes]
"""Makes an input of about this many bytes."""


def filled(head: bytes, piece: bytes, tail: bytes = b"") -> Make:
    """As many pieces as fit between head and tail."""
    return lambda size: head + piece * ((size - len(head) - len(tail)) // len(piece)) + tail


def listed(piece: bytes) -> Make:
    """A list of as many of these terms as fit into a message."""

    def make(size: int) -> bytes:
        count = (size - len(MESSAGE) - 6) // len(piece)
        return MESSAGE + b"l" + struct.pack(">I", count) + piece * count + b"j"

    return make


def string(size: int) -> bytes:
    """A message with a string (STRING_EXT)."""
    count = size - len(MESSAGE) - 3
    return MESSAGE + b"k" + struct.pack(">H", count) + b"a" * count


def numbered(line: bytes, most: int) -> Make:
    """A reply of an epmd with this line for each number."""
    return lambda size: bytes(4) + b"".join(line % number for number in range(min(most, size // len(line % 0))))


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
    epmd_units.choose(epmd_units.parse(data.decode()), 4369, "127.0.0.1", "")


def unit_files(data: bytes) -> None:
    epmd_units.show(data.decode())


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
NAME = b"name x at port 1\n"
ACTIVE = b"active name  <x> at port 1, fd = 7\n"
WORST: dict[str, tuple[Callable[[bytes], None], Make, int]] = {
    "lists without elements": (answer, listed(b"j"), M),
    "empty atoms": (answer, listed(b"w\0"), M),
    "small integers": (answer, listed(b"a\1"), M),
    "maps": (answer, listed(b"t\0\0\0\0"), M),
    "floats": (answer, listed(b"F\x3f\xf0" + bytes(6)), M),
    "deep tuples": (answer, listed(b"h\1" * 60 + b"j"), M),
    "large integers": (answer, listed(b"o" + struct.pack(">IB", 1024, 0) + b"\xff" * 1024), M),
    "a string": (answer, string, M),
    "terms that are too many": (answer, filled(b"p", b"\x83j"), M),
    "names of one byte": (names, filled(bytes(4), NAME), E),
    "as many names as may be": (names, numbered(b"name %0200d at port 1\n", 4096), E),
    "line ends": (names, filled(bytes(4), b"\n"), E),
    "line ends behind a name": (names, filled(bytes(4) + NAME, b"\n"), E),
    "one line": (names, filled(bytes(4), b"name x at port ", b"\n"), E),
    "names that do not end": (names, filled(bytes(4) + NAME, b"name \n"), E),
    "names that end in the last line": (names, filled(bytes(4) + NAME, b"name \n", b" at port 5\n"), E),
    "starts of names": (names, filled(bytes(4) + NAME, b"name ", b"\n"), E),
    "ends of names": (names, filled(bytes(4) + NAME, b" at port 1\n"), E),
    "ports that are none": (names, filled(bytes(4) + NAME, b"name x at port 99999\n"), E),
    "as many lines of a dump as fit": (dump, filled(bytes(4), ACTIVE), E),
    "as many names of a dump as fit": (dump, numbered(b"active name  <%d> at port 1, fd = 7\n", 25_000), E),
    "starts of a dump": (dump, filled(bytes(4), b"active name  <"), E),
    "starts of a dump that end in the last line": (dump, filled(bytes(4), b"active name  <", ACTIVE), E),
    "ends of a dump": (dump, filled(bytes(4) + ACTIVE, b"> at port 1, fd = 7\n"), E),
    "spaces in a dump": (dump, filled(bytes(4) + b"active name <" * 70 + b"> at port 1, fd = 7", b" "), E),
    "lists in a file": (consult, filled(b"[[]", b",[]", b"]."), T),
    "lists in lists in a file": (consult, filled(b"[[]", b"," + b"[" * 40 + b"]" * 40, b"]."), T),
    "maps in a file": (consult, filled(b"[#{}", b",#{}", b"]."), T),
    "atoms in a file": (consult, filled(b"[a", b",a", b"]."), T),
    "a string in a file": (consult, filled(b'"', b"a", b'".'), T),
    "escapes in a file": (consult, filled(b'"', b"\\a", b'".'), T),
    "a string without an end": (consult, filled(b'"', b"\\a"), T),
    "strings in a file": (consult, filled(b"", b'""', b"."), T),
    "spaces in a file": (consult, filled(b"a", b" %\n", b"."), T),
    "a comment in a file": (consult, filled(b"a", b" % %", b"."), T),
    "a binary in a file": (consult, filled(b"<<1", b",1", b">>."), T),
    "tails in a file": (consult, filled(b"[a", b"|[b]", b"]."), T),
    "pairs in a file": (consult, filled(b"[{client,[{a,b}", b",{a,b}", b"]}]."), T),
    "flags": (arguments, filled(b"x\0--\0", b"-a\0"), C),
    "words": (arguments, filled(b"x\0--\0-a\0", b"a\0"), C),
    "dashes": (arguments, filled(b"x\0", b"--\0"), C),
    "cookies": (arguments, filled(b"x\0", b"cooki"), C),
    "variables": (
        environment,
        lambda size: b"".join(b"%05x=\0" % n for n in range(size // 7)),
        _limits.MAX_ENVIRONMENT,
    ),
    "properties": (units, filled(b"Id=epmd.service\n", b"A=\n"), O),
    "blocks": (units, filled(b"", b"A=\n\n"), O),
    "units": (
        units,
        lambda size: b"\n\n".join(b"Id=%d.service\nTriggeredBy=a" % number for number in range(size // 29)),
        O,
    ),
    "sockets of units": (units, filled(b"Id=a.socket\n", b"Listen=[::]:4369 (Stream)\n"), O),
    "commands": (units, filled(b"Id=epmd.service\nExecStart={ path=", b" ; argv[]= ; ignore_errors="), O),
    "zeros": (units, filled(b"Id=epmd.service\nLoadState=loaded\nExecStart=", b"-port=0"), O),
    "listed units": (unit_files, filled(b"", b"a.service\n"), O),
    "headers": (sockets, filled(b"", struct.pack("=IHHII", 16, 20, 0, 0, 0)), 1 << 16),
    "sockets": (sockets, filled(b"", struct.pack("=IHHII", 72, 20, 0, 0, 0) + b"\2" + bytes(55)), 1 << 16),
}


@pytest.mark.parametrize("name", WORST)
def test_the_worst_within_the_limits_costs_little_and_twice_as_much_costs_twice_as_much(name: str) -> None:
    run, make, size = WORST[name]
    quarter = _seconds(run, make(size // 4))
    with grows_by_less_than(HOSTILE_MEBIBYTES):
        whole = _seconds(run, make(size))
    assert whole < SECONDS
    # Four times as much if it is linear, sixteen times if it is quadratic.
    assert whole < 8 * quarter + NOISE


@pytest.mark.parametrize(
    ("honest", "name"),
    [
        *((NAME, name) for name, (run, _make, _size) in WORST.items() if run is names),
        *((ACTIVE, name) for name, (run, _make, _size) in WORST.items() if run is dump),
    ],
)
def test_no_table_costs_much_more_than_an_honest_one_of_its_size(honest: bytes, name: str) -> None:
    run, make, size = WORST[name]
    assert _seconds(run, make(size)) < 8 * _seconds(run, filled(bytes(4), honest)(size)) + NOISE


def _seconds(run: Callable[[bytes], None], data: bytes) -> float:
    """Of the processor, in the better one of two runs."""
    took = []
    for _again in range(2):
        started = time.process_time()
        run(data)
        took.append(time.process_time() - started)
    return min(took)


def test_limits_stay_below_those_of_python() -> None:
    """Deeper, Python would end the recursion; longer, it would not print a number."""
    deep = etf.decode(b"h\1" * _limits.MAX_DEPTH + b"j")
    assert repr(deep).count("(") == _limits.MAX_DEPTH
    text = "[" * _limits.MAX_DEPTH + "]" * _limits.MAX_DEPTH + "."
    assert erlang_terms.consult(text)
    assert len(str(2 ** (8 * _limits.MAX_INTEGER_BYTES))) < 4300
    assert len(str(erlang_terms.consult("1" * _limits.MAX_DIGITS + "."))) > _limits.MAX_DIGITS
