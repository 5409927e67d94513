# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to epmd and its replies, against the bytes of the ERTS User's Guide."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._errors import ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd
from ansible_collections.beamops.epmd.tests.fakes import epmd_server

LAST_CHARACTER = "vic\u00ff"
"""The name b"vic\\xff"."""


def test_requests_have_the_bytes_of_the_standard() -> None:
    assert epmd.DEFAULT_PORT == 4369  # as registered with IANA
    assert bytes.fromhex("0001 6e") == epmd.NAMES_REQ
    assert bytes.fromhex("0001 64") == epmd.DUMP_REQ


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("vic", bytes.fromhex("0004 7a 766963")),
        ("\u00e9", bytes.fromhex("0002 7a e9")),
        (LAST_CHARACTER, bytes.fromhex("0005 7a 766963ff")),
        ("a" * 255, bytes.fromhex("0100 7a") + b"a" * 255),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_request_about_a_name_has_the_bytes_of_the_standard(name: str, data: bytes) -> None:
    assert epmd.is_name(name)
    assert epmd.encode_port_request(name) == data


@pytest.mark.parametrize("name", ["", "a" * 256, "\u0142"], ids=["empty", "256 bytes", "not Latin-1"])
def test_a_name_that_is_empty_or_too_long_is_never_sent(name: str) -> None:
    assert not epmd.is_name(name)
    with pytest.raises(ValueError, match="1 to 255 characters"):
        epmd.encode_port_request(name)


TABLES: list[tuple[dict[str, int], bytes]] = [
    ({}, b"\x00\x00\x11\x11"),
    ({"vic": 25672}, b"\x00\x00\x11\x11name vic at port 25672\n"),
    (
        {"a": 1, "\u00e9": 65535, LAST_CHARACTER: 2},
        b"\x00\x00\xff\xffname a at port 1\nname \xe9 at port 65535\nname vic\xff at port 2\n",
    ),
    ({"x at port 5": 6}, b"\x00\x00\x00\x01name x at port 5 at port 6\n"),
    ({"name": 6, " ": 7}, b"\x00\x00\x00\x01name name at port 6\nname   at port 7\n"),
    ({"a\nb": 6, "\x1b[2J": 7}, b"\x00\x00\x00\x01name a\nb at port 6\nname \x1b[2J at port 7\n"),
    ({"a" * 255: 6}, b"\x00\x00\x00\x01name " + b"a" * 255 + b" at port 6\n"),
]


@pytest.mark.parametrize(("names", "data"), TABLES, ids=lambda value: repr(value)[:40])
def test_tables_have_the_bytes_of_the_standard(names: dict[str, int], data: bytes) -> None:
    assert epmd.decode_names_reply(data) == names
    assert epmd_server.names_reply(names, int.from_bytes(data[:4], "big")) == data


def test_a_table_keeps_the_order_of_epmd() -> None:
    table = epmd.decode_names_reply(b"\x00\x00\x11\x11name b at port 1\nname a at port 2\n")
    assert list(table) == ["b", "a"]


def test_a_table_that_is_cut_off_is_a_protocol_error_except_between_lines() -> None:
    lines = [b"\x00\x00\x11\x11", b"name a at port 1\n", b"name bb at port 25672\n"]
    data = b"".join(lines)
    whole = {len(b"".join(lines[:count])): count - 1 for count in range(1, 4)}
    for end in range(len(data)):
        if end in whole:
            assert len(epmd.decode_names_reply(data[:end])) == whole[end]
        else:
            with pytest.raises(ProtocolError):
                epmd.decode_names_reply(data[:end])


@pytest.mark.parametrize(
    "text",
    [
        b"\n",
        b"HTTP/1.0 400 Bad Request\r\n\r\n",
        b"name a at port 1\r\n",
        b"name a at port\n",
        b"name a at port \n",
        b"name a at port -1\n",
        b"name a at port +1\n",
        b"name a at port 1x\n",
        b"name a at port \xd9\xa1\n",
        b"name a at port 100000\n",
        b" name a at port 1\n",
        b"Name a at port 1\n",
        b"name a at port 1",
        b"\x00" * 100 + b"\n",
        b"\xff" * 100 + b"\n",
        b"active name     <a> at port 1, fd = 5\n",
    ],
    ids=repr,
)
def test_a_malformed_table_is_a_protocol_error(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        epmd.decode_names_reply(b"\x00\x00\x11\x11" + text)


@pytest.mark.parametrize("left", [b"zzz at port 5\n", b"\n", b"\xff\n\n", b"name x at port 99999\n"])
def test_the_rest_of_a_name_that_contains_a_line_is_skipped(left: bytes) -> None:
    """Such a name, as `a at port 1\\nzzz`, may be registered by anybody."""
    data = b"\x00\x00\x11\x11name a at port 1\n" + left + b"name vic at port 4711\n"
    assert epmd.decode_names_reply(data) == {"a": 1, "vic": 4711}


@pytest.mark.parametrize("port", [65536, 99999])
def test_a_table_with_a_port_that_no_node_can_have_is_a_protocol_error(port: int) -> None:
    with pytest.raises(ProtocolError):
        epmd.decode_names_reply(b"\x00\x00\x11\x11name a at port %d\n" % port)


def test_a_table_has_no_more_names_than_any_epmd_holds() -> None:
    lines = [b"name %d at port 1\n" % number for number in range(_limits.MAX_EPMD_NAMES + 1)]
    assert len(epmd.decode_names_reply(bytes(4) + b"".join(lines[:-1]))) == _limits.MAX_EPMD_NAMES
    with pytest.raises(ProtocolError, match="more than 4096 names"):
        epmd.decode_names_reply(bytes(4) + b"".join(lines))


def test_a_name_has_no_more_bytes_than_epmd_takes() -> None:
    assert epmd.decode_names_reply(bytes(4) + b"name " + b"x" * 1020 + b" at port 1\n") == {"x" * 1020: 1}
    for size in (0, 1021, 100_000):
        with pytest.raises(ProtocolError, match="first line of its table is malformed"):
            epmd.decode_names_reply(bytes(4) + b"name " + b"x" * size + b" at port 1\n")


def test_a_malformed_table_is_quoted_only_in_part() -> None:
    with pytest.raises(ProtocolError) as caught:
        epmd.decode_names_reply(b"\x00\x00\x11\x11" + b"\x1b" * 100_000 + b"\n")
    assert len(str(caught.value)) < 300
    assert "\x1b" not in str(caught.value)


PORT_REPLIES: list[tuple[int, bytes, bytes]] = [
    (25672, bytes.fromhex("7700 6448 4d 00 0006 0005 0003 766963 0000"), epmd_server.port_reply("vic", 25672)),
    (
        65535,
        bytes.fromhex("7700 ffff 48 00 0006 0005 0001 76 0002 00ff"),
        epmd_server.port_reply("v", 65535, extra=b"\x00\xff", node_type=72),
    ),
    (
        0,
        bytes.fromhex("7700 0000 4d 00 0006 0005 0004 766963ff 0000"),
        epmd_server.port_reply(LAST_CHARACTER, 0),
    ),
    (
        1,
        bytes.fromhex("7700 0001 4d 00 0006 0005 00ff") + b"a" * 255 + b"\0\0",
        epmd_server.port_reply("a" * 255, 1),
    ),
]


@pytest.mark.parametrize(("port", "data", "sent"), PORT_REPLIES, ids=lambda value: repr(value)[:30])
def test_a_port_reply_has_the_bytes_of_the_standard(port: int, data: bytes, sent: bytes) -> None:
    assert epmd.decode_port_reply(data) == port
    assert sent == data
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            epmd.decode_port_reply(data[:end])
    with pytest.raises(ProtocolError):
        epmd.decode_port_reply(data + b"\0")


def test_a_name_that_is_not_registered_has_no_port() -> None:
    assert epmd.decode_port_reply(b"\x77\x01") is None
    assert epmd.decode_port_reply(b"\x77\xff") is None
    assert epmd_server.NOT_REGISTERED == b"\x77\x01"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x77",
        b"\x78\x00",
        b"HTTP/1.0 400",
        b"\x77\x00" + bytes(12),
        bytes.fromhex("7700 0001 4d 00 0006 0005 0100") + b"a" * 256 + b"\0\0",
        bytes.fromhex("7700 6448 4d 00 0006 0005 ffff 766963 0000"),
        bytes.fromhex("7700 6448 4d 00 0006 0005 0003 766963 ffff"),
        bytes.fromhex("7700 6448 4d 00 0006 0005 0002 766963 0000"),
        bytes.fromhex("7700 6448 4d 00 0006 0005 0003 766963 0000 00"),
    ],
    ids=lambda data: data.hex()[:30],
)
def test_a_malformed_port_reply_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        epmd.decode_port_reply(data)


def test_a_missing_reply_and_one_that_is_cut_off_have_messages_of_their_own() -> None:
    for decode in (epmd.decode_names_reply, epmd.decode_dump_reply, epmd.decode_port_reply):
        with pytest.raises(ProtocolError, match=r"^it closed the connection without an answer$"):
            decode(b"")
    with pytest.raises(ProtocolError, match=r"^its table is cut off: 4 bytes expected at offset 0, 3 left$"):
        epmd.decode_names_reply(bytes(3))
    with pytest.raises(ProtocolError, match=r"^its table is cut off in the last line$"):
        epmd.decode_names_reply(bytes(4) + b"name vic at port 1")
    with pytest.raises(ProtocolError, match=r"^its dump is cut off: 4 bytes expected at offset 0, 3 left$"):
        epmd.decode_dump_reply(bytes(3))
    with pytest.raises(
        ProtocolError, match=r"^its answer about a name is cut off: 3 bytes expected at offset 12, 2 left$"
    ):
        epmd.decode_port_reply(PORT_REPLIES[0][1][:14])


def test_a_port_reply_has_to_fit_the_lengths_in_it() -> None:
    with pytest.raises(ProtocolError, match=r"^unexpected bytes after its answer about a name: b'\\x00'$"):
        epmd.decode_port_reply(PORT_REPLIES[0][1] + b"\0")
    with pytest.raises(ProtocolError, match=r"^its answer about a name has a name of 0 bytes$"):
        epmd.decode_port_reply(b"\x77\x00" + bytes(12))


def test_the_dump_has_the_descriptor_of_each_active_name() -> None:
    """As epmd of OTP 23 to 29 sends it, with a name that it had earlier."""
    sent = (
        b"\x00\x00\x11\x11active name     <sq> at port 4711, fd = 6\n\x00active name     <vic> at port 46367, fd = 5\n"
        b"\x00old/unused name <gone> at port 40001, fd = 7 \n\x00"
    )
    assert epmd.decode_dump_reply(sent) == {"sq": 6, "vic": 5}
    assert epmd.decode_dump_reply(b"\x00\x00\x11\x11") == {}
    assert epmd.decode_dump_reply(b"\x00\x00\x11\x11\x00\nHTTP/1.1 400\n\xff") == {}
    with pytest.raises(ProtocolError):
        epmd.decode_dump_reply(b"\x00\x11")


def test_a_dump_has_no_more_names_than_any_epmd_holds() -> None:
    lines = [b"active name     <%d> at port 1, fd = 7\n" % number for number in range(_limits.MAX_EPMD_NAMES + 1)]
    assert len(epmd.decode_dump_reply(bytes(4) + b"".join(lines[:-1]))) == _limits.MAX_EPMD_NAMES
    with pytest.raises(ProtocolError, match="names"):
        epmd.decode_dump_reply(bytes(4) + b"".join(lines))


@pytest.mark.parametrize("data", [PORT_REPLIES[0][1], epmd_server.NOT_REGISTERED])
def test_every_other_tag_is_no_answer_about_a_name(data: bytes) -> None:
    for tag in set(range(256)) - {epmd.PORT2_RESP}:
        with pytest.raises(ProtocolError):
            epmd.decode_port_reply(bytes([tag]) + data[1:])


def test_garbage_is_quoted_only_in_part() -> None:
    with pytest.raises(ValueError, match=f"unlike {'a' * 20!r}$"):
        epmd.encode_port_request("a" * 256)
    with pytest.raises(ProtocolError, match=f"starts with {b'ab'!r}$"):
        epmd.decode_port_reply(b"abc")
    with pytest.raises(ProtocolError, match=f"is malformed: {b'a' * 40!r}$"):
        epmd.decode_names_reply(bytes(4) + b"a" * 41 + b"\n")
