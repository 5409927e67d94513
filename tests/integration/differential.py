# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests against Erlang itself share: the text of a term, terms of ours, the table of `make differential`.

BEAMOPS_TERMS says how many terms a test takes. BEAMOPS_DIFFERENTIAL is a file that gets a row for each test.
"""

from __future__ import annotations

import csv
import fcntl
import os
import random
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import (
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    Map,
    Pid,
    Port,
    Reference,
    Term,
)
from ansible_collections.beamops.epmd.tests.lab import Otp

TERMS = int(os.environ.get("BEAMOPS_TERMS", "1500"))
BATCH = 500


@pytest.fixture
def seen(otp: Otp, request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """What was compared: how many were the same (""), and how many differ, by the reason for which they may.

    Row of the table: what was compared, release, how many, differences, seconds.
    """
    found: Counter[str] = Counter()
    begun = time.monotonic()
    yield found
    table = os.environ.get("BEAMOPS_DIFFERENTIAL")
    if table:
        differences = "; ".join(f"{number} {why}" for why, number in sorted(found.items()) if why)
        what = request.node.originalname.removeprefix("test_").replace("_", " ")
        with open(table, "a", newline="", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            seconds = round(time.monotonic() - begun)
            csv.writer(file).writerow([what, otp.release, found.total(), differences or "none", seconds])


def text(term: Term) -> bytes:
    """The text of a term, as reference.erl has it."""
    return _TEXTS[term.__class__](term)


def _sized(data: bytes) -> bytes:
    return b"%d:%b" % (len(data), data)


def _integer(number: int) -> bytes:
    if abs(number) < 1 << 31:
        return b"i%d" % number
    magnitude = abs(number).to_bytes((abs(number).bit_length() + 7) // 8, "big")
    return (b"-" if number < 0 else b"+") + _sized(magnitude)


def _numbers(node: Atom, *numbers: int) -> bytes:
    return _sized(node.encode()) + b"".join(b".%d" % number for number in numbers)


def _each(parts: Iterable[Term]) -> bytes:
    return b"".join(text(part) + b"," for part in parts)


def _tuple(parts: Iterable[Term]) -> bytes:
    return b"{%b}" % _each(parts)


_TEXTS: dict[type, Callable[[Any], bytes]] = {
    Atom: lambda atom: b"a" + _sized(atom.encode()),
    int: _integer,
    float: lambda number: b"f" + struct.pack(">d", number),
    bytes: lambda data: b"b" + _sized(data),
    BitString: lambda found: b"B%d" % found.bits + _sized(_without_spare_bits(found)),
    tuple: _tuple,
    list: lambda items: b"[%b]" % _each(items),
    ImproperList: lambda found: b"[%b|%b]" % (_each(found.items)[:-1], text(found.tail)),
    Map: lambda found: (
        b"#{%b}"
        % b"".join(pair + b"," for pair in sorted(text(key) + b">" + text(value) for key, value in found.pairs))
    ),
    Pid: lambda pid: b"p" + _numbers(pid.node, pid.id, pid.serial, pid.creation),
    Port: lambda port: b"o" + _numbers(port.node, port.id, port.creation),
    Reference: lambda found: b"r" + _numbers(found.node, found.creation, *found.words),
    Export: lambda fun: b"e" + _tuple((fun.module, fun.function, fun.arity)),
    Fun: lambda fun: b"l" + _tuple((fun.module, fun.arity, fun.uniq, fun.free)),
}


def _without_spare_bits(found: BitString) -> bytes:
    return found.data[:-1] + bytes([found.data[-1] & (0xFF00 >> found.bits) & 0xFF])


def batches(count: int) -> Iterator[tuple[random.Random, int]]:
    """As many batches as this many terms take, each with its own source of chance, and its size."""
    for number in range(-(-count // BATCH)):
        yield random.Random(number), min(BATCH, count - number * BATCH)


def _atom(chance: random.Random) -> Atom:
    letters = chance.choice(["ab@.'\\", "é\xff", "αω", "😀"])
    return Atom("".join(chance.choices(letters, k=chance.choice([0, 1, 5, 63, 64, 255]))))


def sent(chance: random.Random, depth: int = 4) -> Term:
    """A value of the kinds that calls of ours have."""
    kind = chance.randrange(7 if depth else 5)
    if kind == 0:
        return _atom(chance)
    if kind == 1:
        return chance.choice([0, 255, 256, -1, 2**31 - 1, -(2**31), chance.randrange(-(2**31), 2**31)])
    if kind == 2:
        creation = chance.choice([0, 1, 3, 4, 2**32 - 1])
        return Pid(Atom("vic@web1"), chance.randrange(1 << 15), chance.randrange(1 << 3), creation)
    if kind == 3:
        words = (chance.randrange(1 << 18), *(chance.getrandbits(32) for _each in range(2)))
        return Reference(Atom("vic@web1"), chance.choice([0, 1, 3, 4, 2**32 - 1]), words)
    if kind == 4:
        return [chance.randrange(256) for _each in range(chance.choice([0, 1, 300]))]
    parts = [sent(chance, depth - 1) for _each in range(chance.choice([0, 1, 2, 3]))]
    return parts if kind == 5 else tuple(parts)
