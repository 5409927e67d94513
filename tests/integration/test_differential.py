# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our terms and digests against those of Erlang itself: what it sends, what it reads, and what it refuses.

A term is compared as a text that both sides make of what they have (tests/lab/reference.erl).
"""

from __future__ import annotations

import random
import re
import struct
from collections import Counter
from collections.abc import Iterator

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._errors import ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._wire import digest, etf
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import (
    Export,
    Fun,
    ImproperList,
    Map,
    Pid,
    Port,
    Reference,
    Term,
)
from ansible_collections.beamops.epmd.tests import lab
from ansible_collections.beamops.epmd.tests.fakes import terms
from ansible_collections.beamops.epmd.tests.integration.differential import TERMS, batches, sent, text
from ansible_collections.beamops.epmd.tests.lab import Otp
from ansible_collections.beamops.epmd.tests.unit.fuzz.corpus import load

MAGIC = b"\x83"


@pytest.fixture
def reference(otp: Otp) -> Iterator[lab.Reference]:
    """A VM of this release."""
    with lab.Reference(otp) as running:
        yield running


_REFUSED = {
    "a compressed term": "compressed",
    "a term is nested deeper than": "deeper than our limit",
    "an integer of": "an integer longer than our limit",
    "a big integer has the sign": "a sign that is neither 0 nor 1",
    "a float of the old form": "an old float with something behind its end",
    "a reference of 0 words": "a reference without words",
    "a bitstring of 0 bytes": "a bitstring without bits in its own form",
    "an unknown term tag (73)": "a tag for inside a VM",
    "an unknown term tag (75)": "a tag for inside a VM",
    "a fun is cut off": "the size of a fun",
    "unexpected bytes after a fun": "the size of a fun",
}
"""What Erlang takes and we refuse on purpose: why, by the start of our error. Erlang looks at no size of a fun."""


def _refusal(error: ProtocolError, encoded: bytes) -> str:
    """Why we refuse what Erlang takes, which has to be one of these reasons. encoded: without the magic."""
    message = str(error)
    cut = re.match(r"a term is cut off: (\d+) bytes expected at offset (\d+)", message)
    if cut and encoded[int(cut[2]) - 1 :].startswith(struct.pack(">BI", etf.NEW_FUN_EXT, int(cut[1]))):
        return "the size of a fun"
    many = re.match(r"a term claims (\d+) parts", message)
    if many and int(many[1]) < len(encoded) and bytes([etf.NEW_FUN_EXT]) in encoded:
        return "the size of a fun"
    found = [why for start, why in _REFUSED.items() if message.startswith(start)]
    assert found, (message, encoded)
    return found[0]


def _parts(term: Term) -> Iterator[Term]:
    """The term, and all that is in it."""
    yield term
    if term.__class__ in (tuple, list):
        inside = term
    elif isinstance(term, Map):
        inside = [part for pair in term.pairs for part in pair]
    elif isinstance(term, ImproperList):
        inside = [*term.items, term.tail]
    elif isinstance(term, Fun):
        inside = [term.pid, *term.free]
    else:
        return
    for part in inside:
        yield from _parts(part)


def _unlike(term: Term, release: int, encoded: bytes) -> str:
    """Why Erlang of this release refuses this term, which we take; it has to be one of these reasons."""
    highest = 1 << (15 if release < 26 else 28)
    for part in _parts(term):
        if isinstance(part, Fun) and part.arity is None:
            return "a fun of before OTP R15"
        if isinstance(part, Fun) and not isinstance(part.pid, Pid):
            return "a fun that no process made"
        if isinstance(part, Map) and len({text(key) for key, _value in part.pairs}) < len(part.pairs):
            return "a map with a key twice"
        if isinstance(part, Export) and not 0 <= part.arity <= 255:
            return "an arity that no fun has"
        # In the old forms a creation has two bits, although it takes a byte; no node has such numbers.
        if isinstance(part, (Pid, Port, Reference)) and 4 <= part.creation <= 255:
            return "a number that no node has"
        if isinstance(part, (Pid, Port)) and part.id >= highest:
            return "a number that no node has"
        if isinstance(part, Pid) and part.serial >= 1 << 13:
            return "a number that no node has"
        if isinstance(part, Reference) and part.words[0] >= 1 << 18:
            return "a number that no node has"
        if isinstance(part, Port) and release < 24 and bytes([etf.V4_PORT_EXT]) in encoded:
            return "a port of newer nodes"
        # Python's float() takes spaces around it, and underscores in it.
        if isinstance(part, float) and bytes([etf.FLOAT_EXT]) in encoded:
            return "an old float with something before its end"
    raise AssertionError(f"Erlang refuses {term!r}")


def _otherwise(term: Term, found: bytes, release: int, encoded: bytes) -> str:
    """Why a term has another text in Erlang than here; it has to be one of these reasons."""
    # The digest of its module is then that of the other; pairs of a map may be in another order for that.
    ours, theirs = (sorted(re.sub(rb"(?s)b16:.{16}", b"", described)) for described in (text(term), found))
    if release < 25 and ours == theirs and any(isinstance(part, Fun) for part in _parts(term)):
        return "a fun that shares its old index with another"
    for part in _parts(term):
        if isinstance(part, Export) and not 0 <= part.arity <= 255:
            return "an arity that no fun has"
        if isinstance(part, Reference) and part.node == "nonode@nohost" and len(part.words) != 3:
            return "a reference of the VM itself without three words"
    raise AssertionError(f"Erlang has {found!r}, and we {text(term)!r} for {encoded!r}")


def test_what_erlang_sends_is_what_we_read(reference: lab.Reference, seen: Counter[str]) -> None:
    for chance, count in batches(TERMS):
        made = reference.make(chance.getrandbits(63), count)
        again = []
        for encoded, described in made:
            try:
                value = etf.decode(encoded[1:])
            except ProtocolError as error:
                why = _refusal(error, encoded[1:])
                assert {
                    "compressed": encoded[1] == etf.COMPRESSED,
                    "deeper than our limit": len(re.findall(rb"[\[{]", described)) > _limits.MAX_DEPTH // 2,
                    "an integer longer than our limit": re.search(rb"[+-]1[0-9]{3}:", described),
                }[why]
                seen[why] += 1
                again.append(encoded)
                continue
            assert text(value) == described, encoded
            seen[""] += 1
            again.append(MAGIC + terms.encode(value))
        differing = [encoded for (encoded, _text), same in zip(made, reference.same(again), strict=True) if not same]
        assert not differing


def test_what_we_send_is_what_erlang_reads(reference: lab.Reference, seen: Counter[str]) -> None:
    for chance, count in batches(TERMS):
        values = [sent(chance) for _each in range(count)]
        read = reference.read(MAGIC + etf.encode(value) for value in values)
        for value, found in zip(values, read, strict=True):
            assert found is not None, value
            assert found.used == 1 + len(etf.encode(value))
            assert found.text == text(value)
            assert etf.decode(found.encoded[1:]) == value
            seen[""] += 1


def _mutated(chance: random.Random, data: bytearray, words: list[bytes]) -> bytes:
    for _each in range(chance.choice([1, 1, 1, 2, 4])):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0:
                data[place : place + 1] = [chance.choice(list(etf._DECODERS))]
            case 1:
                data[place : place + 1] = [chance.getrandbits(8)]
            case 2:
                del data[place : place + chance.choice([1, 2, 4, 9])]
            case 3:
                data[place:place] = chance.randbytes(chance.choice([1, 2, 4]))
            case 4:
                del data[place:]
            case 5:
                data[place:place] = chance.choice(words)
            case 6 if place < len(data):
                data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


def test_bytes_of_any_kind_are_read_or_refused_alike(otp: Otp, reference: lab.Reference, seen: Counter[str]) -> None:
    words = [data for name in ("etf", "etf_split", "control") for data in load(name)]
    findings: list[str] = []
    for chance, count in batches(TERMS):
        made = [encoded[1:] for encoded, _text in reference.make(chance.getrandbits(63), count // 4)]
        sources = words + [encoded for encoded in made if len(encoded) < 2000]
        inputs = [_mutated(chance, bytearray(chance.choice(sources)), words) for _each in range(count)]
        # What comes out of a compressed term has any size; we refuse the tag.
        inputs = [data for data in inputs if data[:1] != bytes([etf.COMPRESSED])]
        for data, found in zip(inputs, reference.read(MAGIC + data for data in inputs), strict=True):
            try:
                seen[_difference(data, found, otp.release)] += 1
            except AssertionError as error:
                findings.append(f"{data.hex()}: {error}")
        assert len(findings) < 20, "\n".join(findings)
    assert not findings, "\n".join(findings)


def _difference(data: bytes, found: lab.Read | None, release: int) -> str:
    """How what we read in bytes (without the magic) differs from what Erlang found there; "" if it does not.

    Erlang ignores what follows a term, but says where.
    """
    reader = etf._Reader(data, "a term")
    try:
        value = reader.term(0)
    except ProtocolError as error:
        return "bytes that end the VM" if found == lab.ENDED else _refusal(error, data) if found else ""
    if found == lab.ENDED:
        return "bytes that end the VM"
    if found is None:
        return _unlike(value, release, data)
    assert found.used == 1 + reader.position, data
    if found.text != text(value):
        return _otherwise(value, found.text, release, data)
    again = etf.decode(found.encoded[1:])
    return "" if text(again) == found.text else _otherwise(again, found.text, release, data)


@pytest.mark.one_release
def test_digests(reference: lab.Reference, seen: Counter[str]) -> None:
    for chance, count in batches(TERMS):
        asked = [(chance.randbytes(chance.choice([1, 20, 255])), chance.getrandbits(32)) for _each in range(count)]
        asked[:2] = [(b"secret", 0), (b"secret", 2**32 - 1)]
        assert reference.digests(asked) == [digest.digest(cookie, challenge) for cookie, challenge in asked]
        seen[""] += count
