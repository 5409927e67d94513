# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Terms of the External Term Format against the bytes that a real Erlang makes of them."""

from __future__ import annotations

import hashlib
import math
import struct

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._errors import ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._wire import etf
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import (
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    Map,
    Pid,
    Port,
    Raw,
    Reference,
    Term,
)
from ansible_collections.beamops.epmd.tests.fakes import terms

V4 = Atom("v4@vm")
AB = Atom("a@b")
SELF = Pid(V4, 9, 0, 0x72BB7F95)

# term_to_binary(Term, [{minor_version, 2}]) of OTP 25.2.3, the node v4@vm, without the 131.
GOLDEN: dict[str, tuple[str, Term]] = {
    "ok": ("77026f6b", Atom("ok")),
    "''": ("7700", Atom("")),
    "true": ("770474727565", Atom("true")),
    "latin-1 atom": ("7702c3a9", Atom("\u00e9")),
    "cjk atom": ("7706e697a5e69cac", Atom("\u65e5\u672c")),
    "atom of 255 characters": ("77ff" + "61" * 255, Atom("a" * 255)),
    "atom of 254 bytes": ("77fe" + "c3a9" * 127, Atom("\u00e9" * 127)),
    "atom of 256 bytes": ("760100" + "c3a9" * 128, Atom("\u00e9" * 128)),
    "atom of 1020 bytes": ("7603fc" + "f09f9880" * 255, Atom("\U0001f600" * 255)),
    "0": ("6100", 0),
    "1": ("6101", 1),
    "255": ("61ff", 255),
    "256": ("6200000100", 256),
    "-1": ("62ffffffff", -1),
    "-256": ("62ffffff00", -256),
    "2^31-1": ("627fffffff", 2**31 - 1),
    "-2^31": ("6280000000", -(2**31)),
    "2^31": ("6e040000000080", 2**31),
    "-2^31-1": ("6e040101000080", -(2**31) - 1),
    "2^59": ("6e08000000000000000008", 2**59),
    "2^60": ("6e08000000000000000010", 2**60),
    "-2^63": ("6e08010000000000000080", -(2**63)),
    "2^64": ("6e0900000000000000000001", 2**64),
    "-2^64": ("6e0901000000000000000001", -(2**64)),
    "255 bytes": ("6eff00" + "ff" * 255, 2 ** (8 * 255) - 1),
    "-255 bytes": ("6eff01" + "ff" * 255, -(2 ** (8 * 255) - 1)),
    "256 bytes": ("6f0000010000" + "00" * 255 + "01", 2 ** (8 * 255)),
    "-256 bytes": ("6f0000010001" + "00" * 255 + "01", -(2 ** (8 * 255))),
    "0.0": ("460000000000000000", 0.0),
    "1.5": ("463ff8000000000000", 1.5),
    "-1.5": ("46bff8000000000000", -1.5),
    "3.14": ("4640091eb851eb851f", 3.14),
    "largest float": ("467fefffffffffffff", 1.7976931348623157e308),
    "smallest float": ("460000000000000001", 5e-324),
    "[]": ("6a", []),
    "string": ("6b00030102ff", [1, 2, 255]),
    "string of 0": ("6b000100", [0]),
    "string of 65535": ("6bffff" + "61" * 65535, [97] * 65535),
    "list of 65536": ("6c00010000" + "6161" * 65536 + "6a", [97] * 65536),
    "list of 65537": ("6c00010001" + "6161" * 65537 + "6a", [97] * 65537),
    "[1,256]": ("6c00000002610162000001006a", [1, 256]),
    "[1,257]": ("6c00000002610162000001016a", [1, 257]),
    "[-1]": ("6c0000000162ffffffff6a", [-1]),
    "[1.0]": ("6c00000001463ff00000000000006a", [1.0]),
    "[[1],[]]": ("6c000000026b0001016a6a", [[1], []]),
    "[a|b]": ("6c00000001770161770162", ImproperList([Atom("a")], Atom("b"))),
    "[1,2|<<>>]": ("6c00000002610161026d0000000178", ImproperList([1, 2], b"x")),
    "<<>>": ("6d00000000", b""),
    "<<'abc'>>": ("6d00000003616263", b"abc"),
    "<<1:1>>": ("4d000000010180", BitString(b"\x80", 1)),
    "<<10:4>>": ("4d0000000104a0", BitString(b"\xa0", 4)),
    "<<255,5:7>>": ("4d0000000207ff0a", BitString(b"\xff\x0a", 7)),
    "{}": ("6800", ()),
    "{a,{}}": ("68027701616800", (Atom("a"), ())),
    "tuple of 255": ("68ff" + "6a" * 255, ([],) * 255),
    "tuple of 256": ("6900000100" + "6a" * 256, ([],) * 256),
    "tuple of 257": ("6900000101" + "6a" * 257, ([],) * 257),
    "#{}": ("7400000000", Map([])),
    "map with a list as key": (
        "740000000277016b74000000006b000101770178",
        Map([(Atom("k"), Map([])), ([1], Atom("x"))]),
    ),
    "pid": ("587705763440766d000000090000000072bb7f95", SELF),
    "pid of another node": (
        "58770d656a61626265726440776562310000012c0000000265f00d42",
        Pid(Atom("ejabberd@web1"), 300, 2, 0x65F00D42),
    ),
    "reference": (
        "5a00037705763440766d72bb7f95000065fe72f40001c8d77371",
        Reference(V4, 0x72BB7F95, (0x65FE, 0x72F40001, 0xC8D77371)),
    ),
    "gen_call": (
        "680377092467656e5f63616c6c6802587705763440766d000000090000000072bb7f955a00037705763440766d72bb7f95"
        "0000660a72f40001c8d773716805770463616c6c770865726c5f65706d64770d72656769737465725f6e6f64656c00000002"
        "6b000376696362000064486a587705763440766d000000090000000072bb7f95",
        (
            Atom("$gen_call"),
            (SELF, Reference(V4, 0x72BB7F95, (0x660A, 0x72F40001, 0xC8D77371))),
            (Atom("call"), Atom("erl_epmd"), Atom("register_node"), [[118, 105, 99], 25672], SELF),
        ),
    ),
}

UNIQ = bytes.fromhex("eee8017e625dedd06f6cfe72fa881de2")

# From the same node, of kinds that only go back to it as they came, and old forms as the chapter "External Term Format"
# has them (OTP 25.2.3 decodes them to the same).
DECODED_ONLY: dict[str, tuple[str, Term]] = {
    "port": ("597705763440766d0000000072bb7f95", Port(V4, 0, 0x72BB7F95)),
    "fun lists:map/2": ("7177056c6973747377036d61706102", Export(Atom("lists"), Atom("map"), 2)),
    "fun": (
        "700000003b01eee8017e625dedd06f6cfe72fa881de200000000000000007701676100620777400b"
        "587705763440766d000000090000000072bb7f95",
        Fun(Atom("g"), 1, 0, UNIQ, 0, 0x0777400B, SELF, []),
    ),
    "fun of two free variables": (
        "700000004600afc8fc178c3758ce8da487495eef21b60000000000000002770168610062057e47e0"
        "587705763440766d000000090000000058c47d4e" + "770466726565" + "620000012c",
        Fun(
            Atom("h"),
            0,
            0,
            bytes.fromhex("afc8fc178c3758ce8da487495eef21b6"),
            0,
            0x057E47E0,
            SELF._replace(creation=0x58C47D4E),
            [Atom("free"), 300],
        ),
    ),
    "STRING_EXT, empty": ("6b0000", []),
    "LIST_EXT, empty": ("6c000000006a", []),
    "LIST_EXT, a tail alone": ("6c00000000770162", Atom("b")),
    "LIST_EXT, going on in its tail": ("6c0000000161016b000102", [1, 2]),
    "LIST_EXT, going on in its tail, improper": ("6c0000000161016c000000016102770162", ImproperList([1, 2], Atom("b"))),
    "LARGE_TUPLE_EXT, small": ("69000000016a", ([],)),
    "LARGE_BIG_EXT, small": ("6f000000010105", -5),
    "SMALL_BIG_EXT, zero": ("6e0000", 0),
    "INTEGER_EXT, small": ("6200000001", 1),
    "BIT_BINARY_EXT, whole": ("4d0000000108ff", b"\xff"),
    "ATOM_UTF8_EXT, short": ("7600026f6b", Atom("ok")),
    "FLOAT_EXT": ("63312e3530303030303030303030303030303030303030652b30300000000000", 1.5),
    "FLOAT_EXT, negative": ((b"c-1.50000000000000000000e+02" + bytes(4)).hex(), -150.0),
    "ATOM_EXT": ("6400026f6b", Atom("ok")),
    "ATOM_EXT, latin-1": ("640001e9", Atom("\u00e9")),
    "SMALL_ATOM_EXT": ("7301e9", Atom("\u00e9")),
    "PID_EXT": ("6773036140620000012c0000000201", Pid(AB, 300, 2, 1)),
    "PORT_EXT": ("6673036140620000010203", Port(AB, 258, 3)),
    "NEW_PORT_EXT": ("5977036140620000000565f00d42", Port(AB, 5, 0x65F00D42)),
    "V4_PORT_EXT": ("787703614062000000010000000565f00d42", Port(AB, 2**32 + 5, 0x65F00D42)),
    "REFERENCE_EXT": ("6573036140620000010203", Reference(AB, 3, (258,))),
    "NEW_REFERENCE_EXT": ("720003730361406201000000010000000200000003", Reference(AB, 1, (1, 2, 3))),
    "NEWER_REFERENCE_EXT, five words": (
        "5a00057703614062000000040000000100000002000000030000000400000005",
        Reference(AB, 4, (1, 2, 3, 4, 5)),
    ),
    "FUN_EXT": (
        "75000000016773036140620000012c000000020173016d610362000001006107",
        Fun(Atom("m"), None, 3, b"", 3, 256, Pid(AB, 300, 2, 1), [7]),
    ),
}

ALL = {**GOLDEN, **DECODED_ONLY}
SHORT = {name: row for name, row in ALL.items() if len(row[0]) < 1200}


def table(rows: dict[str, tuple[str, Term]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("data", "term"), [pytest.param(bytes.fromhex(data), term, id=name) for name, (data, term) in rows.items()]
    )


def packed(*parts: bytes) -> bytes:
    return bytes([etf.SMALL_TUPLE_EXT, len(parts)]) + b"".join(parts)


def lists(depth: int) -> bytes:
    """[] inside of `depth` lists."""
    return b"\x6c\x00\x00\x00\x01" * depth + b"\x6a" + b"\x6a" * depth


@table(ALL)
def test_what_erlang_encodes_is_decoded(data: bytes, term: Term) -> None:
    value = etf.decode(data)
    assert value == term
    assert type(value) is type(term)


@table(GOLDEN)
def test_what_is_encoded_has_the_bytes_of_erlang(data: bytes, term: Term) -> None:
    assert terms.encode(term) == data
    assert terms.encode(etf.decode(data)) == data
    try:
        encoded = etf.encode(term)
    except (TypeError, struct.error, OverflowError):
        assert not may_be_in_a_call(term)
    else:
        assert encoded == data
        assert terms.decode(data) == (term, b"")


def may_be_in_a_call(term: Term) -> bool:
    """Whether `etf.encode` promises to take it."""
    if term.__class__ is int:
        return -(2**31) <= term < 2**31
    if term.__class__ in (list, tuple):
        return all(map(may_be_in_a_call, term)) and (len(term) < 256 or term.__class__ is list)
    return term.__class__ in (Atom, Pid, Reference)


@pytest.mark.parametrize(
    "name", ["gen_call", "pid", "reference", "string", "[1,256]", "[1,257]", "-2^31", "tuple of 255"]
)
def test_all_that_calls_consist_of_is_encoded(name: str) -> None:
    data, term = GOLDEN[name]
    assert etf.encode(term).hex() == data


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("atom of 1020 bytes", "8f8938840feb9b478018384873d35677"),
        ("string of 65535", "4e8301fc9256302536dcdd4cd2a44984"),
        ("list of 65536", "d59a4634aa34512275de2172fba2cb2e"),
    ],
)
def test_the_large_bytes_above_are_those_of_erlang(name: str, digest: str) -> None:
    assert hashlib.md5(bytes.fromhex(GOLDEN[name][0])).hexdigest() == digest


def test_negative_zero_keeps_its_sign() -> None:
    data = bytes.fromhex("468000000000000000")
    value = etf.decode(data)
    assert math.copysign(1, value) == -1
    assert terms.encode(value) == data


def test_pids_and_references_with_a_short_creation_have_the_form_of_nodes_before_otp_23() -> None:
    node = b"\x77\x03a@b"
    assert etf.encode(Pid(AB, 300, 2, 3)) == b"\x67" + node + bytes.fromhex("0000012c0000000203")
    assert etf.encode(Pid(AB, 300, 2, 4)) == b"\x58" + node + bytes.fromhex("0000012c0000000200000004")
    assert etf.encode(Reference(AB, 3, (1,))) == b"\x72\x00\x01" + node + bytes.fromhex("0300000001")
    assert etf.encode(Reference(AB, 4, (1,))) == b"\x5a\x00\x01" + node + bytes.fromhex("0000000400000001")
    for term in (Pid(AB, 300, 2, 3), Reference(AB, 3, (1, 2))):
        assert terms.decode(etf.encode(term)) == (term, b"")


@table(SHORT)
def test_a_term_that_is_cut_off_anywhere_is_a_protocol_error(data: bytes, term: Term) -> None:
    del term
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            etf.decode(data[:end])
        with pytest.raises(ProtocolError):
            etf.elements(packed(data[:end]))
        with pytest.raises(ProtocolError):
            etf.split(b"\x83" + data[:end])


@table(SHORT)
def test_bytes_after_a_term_are_a_protocol_error(data: bytes, term: Term) -> None:
    del term
    with pytest.raises(ProtocolError, match=r"^unexpected bytes after a term: b'j'$"):
        etf.decode(data + b"\x6a")
    with pytest.raises(ProtocolError, match=r"^unexpected bytes after a term: b'jj'$"):
        etf.elements(packed(data) + b"\x6a\x6a")


@table(ALL)
def test_elements_are_slices_that_are_sent_again_to_the_letter(data: bytes, term: Term) -> None:
    del term
    tuple_of_three = packed(b"\x61\x07", data, b"\x6a")
    assert etf.elements(tuple_of_three) == [b"\x61\x07", data, b"\x6a"]
    raw = etf.elements(tuple_of_three)[1]
    assert isinstance(raw, Raw)
    assert etf.encode(raw) == data
    assert etf.encode((7, raw, [])) == tuple_of_three
    assert etf.encode([raw]) == b"\x6c\x00\x00\x00\x01" + data + b"\x6a"


@table(ALL)
def test_terms_that_follow_one_another_are_split(data: bytes, term: Term) -> None:
    del term
    assert etf.split(b"") == []
    assert etf.split(b"\x83" + data) == [data]
    assert etf.split(b"\x83\x6a\x83" + data + b"\x83\x61\x01") == [b"\x6a", data, b"\x61\x01"]


@pytest.mark.parametrize(
    "data", [b"\x6a", b"\x82\x6a", b"\x84\x6a", b"\x83", b"\x83\x6a\x83", b"\x83\x6a\x6a", b"\x00"]
)
def test_terms_without_the_version_are_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        etf.split(data)


def test_the_error_says_where_the_version_is_missing() -> None:
    with pytest.raises(ProtocolError, match=r"a term must start with 131 at offset 0$"):
        etf.split(b"\x82\x6a")
    with pytest.raises(ProtocolError, match=r"a term must start with 131 at offset 5$"):
        etf.split(b"\x83\x6a\x83\x61\x07\x6a")


@pytest.mark.parametrize("data", [b"\x69\x00\x00\x00\x02\x61\x01\x6a", packed(b"\x61\x01", b"\x6a")])
def test_elements_takes_both_forms_of_a_tuple(data: bytes) -> None:
    assert etf.elements(data) == [b"\x61\x01", b"\x6a"]


@pytest.mark.parametrize("data", [b"", b"\x6a", b"\x61\x01", b"\x74\x00\x00\x00\x00", b"\x6c\x00\x00\x00\x00\x6a"])
def test_elements_of_another_kind_of_term_are_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        etf.elements(data)


def test_nesting_up_to_the_limit_is_decoded() -> None:
    value = etf.decode(lists(_limits.MAX_DEPTH))
    for _level in range(_limits.MAX_DEPTH):
        assert len(value) == 1
        value = value[0]
    assert value == []


# What a term starts with where another one is in it: one row for each place that a term can have in another.
FUN = b"\x70" + bytes(4) + b"\x00" + bytes(16) + bytes(4) + b"\x00\x00\x00\x01"
LEVELS = pytest.mark.parametrize(
    "level",
    [
        pytest.param(b"\x6c\x00\x00\x00\x01", id="item of a list"),
        pytest.param(b"\x6c\x00\x00\x00\x00", id="tail of a list"),
        pytest.param(b"\x68\x01", id="element of a tuple"),
        pytest.param(b"\x69\x00\x00\x00\x01", id="element of a large tuple"),
        pytest.param(b"\x74\x00\x00\x00\x01", id="key of a map"),
        pytest.param(b"\x74\x00\x00\x00\x01\x6a", id="value of a map"),
        pytest.param(b"\x71", id="module of an external fun"),
        pytest.param(b"\x71\x77\x01m", id="function of an external fun"),
        pytest.param(b"\x71\x77\x01m\x77\x01f", id="arity of an external fun"),
        pytest.param(b"\x67", id="node of a pid, old"),
        pytest.param(b"\x58", id="node of a pid"),
        pytest.param(b"\x66", id="node of a port, old"),
        pytest.param(b"\x59", id="node of a port"),
        pytest.param(b"\x78", id="node of a port, long"),
        pytest.param(b"\x65", id="node of a reference, oldest"),
        pytest.param(b"\x72\x00\x01", id="node of a reference, old"),
        pytest.param(b"\x5a\x00\x01", id="node of a reference"),
        pytest.param(b"\x75\x00\x00\x00\x00", id="pid of an old fun"),
        pytest.param(b"\x75\x00\x00\x00\x00\x6a", id="module of an old fun"),
        pytest.param(b"\x75\x00\x00\x00\x00\x6a\x77\x01m", id="index of an old fun"),
        pytest.param(b"\x75\x00\x00\x00\x01\x6a\x77\x01m\x61\x00\x61\x00", id="free variable of an old fun"),
        pytest.param(FUN, id="module of a fun"),
        pytest.param(FUN + b"\x77\x01m", id="old index of a fun"),
        pytest.param(FUN + b"\x77\x01m\x61\x00\x61\x00", id="pid of a fun"),
        pytest.param(FUN + b"\x77\x01m\x61\x00\x61\x00\x6a", id="free variable of a fun"),
    ],
)


def nested(level: bytes, depth: int, tail: bytes) -> bytes:
    """This start of a term as often as `depth`, each inside the one before; a fun claims all bytes up to the end."""
    if level[:1] != FUN[:1]:
        return level * depth + tail
    sizes = range(depth * len(level) + len(tail) - 1, 0, -len(level))
    return b"".join(level[:1] + struct.pack(">I", size) + level[5:] for size, _level in zip(sizes, range(depth))) + tail


@LEVELS
def test_each_level_of_nesting_counts_once(level: bytes) -> None:
    # No place takes so many [], so it ends with an error, but for something else.
    with pytest.raises(ProtocolError) as caught:
        etf.decode(nested(level, _limits.MAX_DEPTH, b"\x6a" * 3 * _limits.MAX_DEPTH))
    assert "deeper" not in str(caught.value)


@LEVELS
@pytest.mark.parametrize("depth", [_limits.MAX_DEPTH + 1, 100_000])
def test_nesting_past_the_limit_is_a_protocol_error(level: bytes, depth: int) -> None:
    with pytest.raises(ProtocolError, match=f"deeper than {_limits.MAX_DEPTH}"):
        etf.decode(nested(level, depth, b"\x6a" * depth))


def test_nesting_is_counted_from_the_whole_term() -> None:
    assert len(etf.elements(packed(lists(_limits.MAX_DEPTH - 1)))) == 1
    with pytest.raises(ProtocolError, match="deeper"):
        etf.elements(packed(lists(_limits.MAX_DEPTH)))
    with pytest.raises(ProtocolError, match="deeper"):
        etf.decode(lists(_limits.MAX_DEPTH + 1))
    assert len(etf.split(b"\x83" + lists(_limits.MAX_DEPTH))) == 1
    with pytest.raises(ProtocolError, match="deeper"):
        etf.split(b"\x83" + lists(_limits.MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "data",
    [
        b"\x68\xff\x6a",
        b"\x69\xff\xff\xff\xff\x6a",
        b"\x6c\xff\xff\xff\xff\x6a",
        b"\x6b\xff\xff\x6a",
        b"\x6d\xff\xff\xff\xff\x6a",
        b"\x4d\xff\xff\xff\xff\x01\x6a",
        b"\x6e\xff\x00\x6a",
        b"\x6f\xff\xff\xff\xff\x00\x6a",
        b"\x74\xff\xff\xff\xff\x6a\x6a",
        b"\x75\xff\xff\xff\xff\x6a",
        b"\x70\xff\xff\xff\xff\x00" + bytes(16) + bytes(4) + b"\xff\xff\xff\xff\x6a",
        b"\x76\xff\xff\x61",
        b"\x64\xff\xff\x61",
        b"\x77\xff\x61",
    ],
    ids=lambda data: str(data[0]),
)
def test_a_huge_count_with_few_bytes_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        etf.decode(data)
    with pytest.raises(ProtocolError):
        etf.elements(data)


def test_a_count_is_compared_with_what_is_left() -> None:
    assert etf.decode(b"\x69\x00\x00\x00\x02\x6a\x6a") == ([], [])
    with pytest.raises(ProtocolError, match="a term claims 3 parts with 2 bytes left"):
        etf.decode(b"\x69\x00\x00\x00\x03\x6a\x6a")
    with pytest.raises(ProtocolError, match="a term claims 4 parts with 3 bytes left"):
        etf.decode(b"\x68\x02\x6a\x68\x04\x6a\x6a\x6a")


@pytest.mark.parametrize("tag", [b"\x69", b"\x6c", b"\x74", b"\x75"], ids=lambda tag: str(tag[0]))
def test_a_huge_count_is_refused_before_its_parts_are_looked_at(tag: bytes) -> None:
    with pytest.raises(ProtocolError, match="a term claims 4294967295 parts with 2 bytes left"):
        etf.decode(tag + b"\xff\xff\xff\xff\x6a\x6a")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (bytes.fromhex("5000000067789ccb664849a4030000cccb26b4"), r"a compressed term \(80\) at offset 0"),
        (b"\x52\x00", r"a reference into an atom cache \(82\) at offset 0"),
        (b"\x79\x00\x00\x00\x00\x6a", r"a term in a node's local encoding \(121\) at offset 0"),
    ],
)
def test_what_was_never_negotiated_is_refused_by_its_name(data: bytes, what: str) -> None:
    with pytest.raises(ProtocolError, match=what):
        etf.decode(data)
    with pytest.raises(ProtocolError, match=what.replace("offset 0", "offset 2")):
        etf.decode(packed(data))


def test_every_other_tag_is_refused_as_unknown() -> None:
    known = {row[0][:2] for row in ALL.values()}
    unknown = [tag for tag in range(256) if f"{tag:02x}" not in known and tag not in etf.NOT_NEGOTIATED]
    assert len(unknown) == 256 - 29 - 3
    for tag in unknown:
        with pytest.raises(ProtocolError, match=rf"an unknown term tag \({tag}\) at offset 0"):
            etf.decode(bytes([tag]) + bytes(64))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x77\x01\xff", id="atom no utf-8"),
        pytest.param(b"\x76\x00\x02\xc3\x28", id="long atom no utf-8"),
        pytest.param(b"\x77\x03\xed\xa0\x80", id="atom with a surrogate"),
        pytest.param(b"\x76\x01\x00" + b"a" * 256, id="utf-8 atom of 256 characters"),
        pytest.param(b"\x64\x01\x00" + b"a" * 256, id="latin-1 atom of 256 characters"),
        pytest.param(b"\x6e\x01\x02\x05", id="sign 2"),
        pytest.param(b"\x6f\x00\x00\x00\x01\xff\x05", id="sign 255"),
        pytest.param(b"\x46\x7f\xf0" + bytes(6), id="infinity"),
        pytest.param(b"\x46\xff\xf0" + bytes(6), id="minus infinity"),
        pytest.param(b"\x46\x7f\xf8" + bytes(6), id="not a number"),
        pytest.param(b"\x63" + b"nan".ljust(31, b"\0"), id="old: nan"),
        pytest.param(b"\x63" + b"inf".ljust(31, b"\0"), id="old: inf"),
        pytest.param(b"\x63" + b"1e999".ljust(31, b"\0"), id="old: too large"),
        pytest.param(b"\x63" + bytes(31), id="old: empty"),
        pytest.param(b"\x63" + b"one".ljust(31, b"\0"), id="old: no number"),
        pytest.param(b"\x63" + b"1.5\0x".ljust(31, b"\0"), id="old: bytes after the end"),
        pytest.param(b"\x63" + b"\xff".ljust(31, b"\0"), id="old: no ascii"),
        pytest.param(b"\x4d\x00\x00\x00\x01\x00\x80", id="0 bits"),
        pytest.param(b"\x4d\x00\x00\x00\x01\x09\x80", id="9 bits"),
        pytest.param(b"\x4d\x00\x00\x00\x00\x01", id="bits of no byte"),
        pytest.param(b"\x5a\x00\x00\x77\x03a@b" + bytes(4), id="reference of 0 words"),
        pytest.param(b"\x5a\x00\x06\x77\x03a@b" + bytes(28), id="reference of 6 words"),
        pytest.param(b"\x72\x00\x06\x77\x03a@b" + bytes(25), id="old reference of 6 words"),
        pytest.param(b"\x58\x61\x01" + bytes(12), id="pid of a node that is no atom"),
        pytest.param(b"\x59\x6a" + bytes(8), id="port of a node that is no atom"),
        pytest.param(b"\x71\x77\x01m\x61\x01\x61\x02", id="export without a function"),
        pytest.param(b"\x71\x77\x01m\x77\x01f\x77\x01a", id="export without an arity"),
        pytest.param(b"\x71\x77\x01m\x77\x01f\x46" + bytes(8), id="export with a float for arity"),
    ],
)
def test_a_malformed_term_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        etf.decode(data)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, r"^a fun is cut off: 4 bytes expected at offset 3, 0 left$"),
        (3, r"^a fun is cut off: 4 bytes expected at offset 3, 3 left$"),
        (4, r"^a fun is cut off: 1 bytes expected at offset 7, 0 left$"),
        (0x3A, r"^a fun is cut off: 4 bytes expected at offset 58, 3 left$"),
        (0x3C, r"^unexpected bytes after a fun: b'j'$"),
        (0x3D, r"^a term is cut off: 61 bytes expected at offset 3, 60 left$"),
        (0xFFFFFFFF, r"^a term is cut off: 4294967295 bytes expected at offset 3, 60 left$"),
    ],
)
def test_a_fun_has_to_have_the_size_that_it_claims(size: int, words: str) -> None:
    data = bytes.fromhex(DECODED_ONLY["fun"][0])
    with pytest.raises(ProtocolError, match=words):
        etf.decode(packed(data[:1] + size.to_bytes(4, "big") + data[5:], b"\x6a"))


@pytest.mark.parametrize(
    "term",
    [
        *(True, None, "text", {"a": 1}, {1}, 1j, [None], (True,)),
        *(1.5, b"x", Port(AB, 1, 4), Export(AB, AB, 1), Map([]), ImproperList([1], 2), BitString(b"x", 1)),
    ],
)
def test_what_no_call_has_is_not_encoded(term: Term) -> None:
    with pytest.raises(TypeError):
        etf.encode(term)


def test_an_atom_of_256_characters_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="256 characters"):
        etf.encode(Atom("a" * 256))


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (Atom("vic"), "vic"),
        (b"vic", "vic"),
        (b"\xff", "\ufffd"),
        ([118, 105, 99], "vic"),
        ([0x65E5], "\u65e5"),
        ([], ""),
        ([0], "\0"),
        ([0x10FFFF], "\U0010ffff"),
        ([0x110000], None),
        ([0x110001], None),
        ([-1], None),
        ([[118]], None),
        (1, None),
        ((), None),
        (Map([]), None),
        (ImproperList([118], 105), None),
    ],
)
def test_the_text_of_terms_that_are_text(term: Term, text: str | None) -> None:
    assert etf.text(term) == text


@pytest.mark.parametrize("more", [1, 2, 255])
def test_an_integer_has_so_many_bytes(more: int) -> None:
    def big(size: int) -> bytes:
        return b"\x6f" + size.to_bytes(4, "big") + b"\x00" + b"\xff" * size

    assert etf.decode(big(_limits.MAX_INTEGER_BYTES)) == 2 ** (8 * _limits.MAX_INTEGER_BYTES) - 1
    with pytest.raises(ProtocolError, match=rf"of {_limits.MAX_INTEGER_BYTES + more} bytes, more than "):
        etf.decode(big(_limits.MAX_INTEGER_BYTES + more))
