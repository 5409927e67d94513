# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and replies of epmd against the bytes of the ERTS User's Guide."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._errors import ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd import (
    Alive2,
    Alive2Reply,
    Dump,
    Names,
    NamesReply,
    PortPlease2,
    Request,
)

LAST_CHARACTER = "vic\u00ff"
"""The name b"vic\\xff"."""

VIC = Alive2("vic", 25672)
BODY = bytes.fromhex("6448 4d 00 0006 0005 0003 766963 0000")

REQUESTS: list[tuple[Request, bytes]] = [
    (Names(), bytes.fromhex("0001 6e")),
    (Dump(), bytes.fromhex("0001 64")),
    (PortPlease2("vic"), bytes.fromhex("0004 7a 766963")),
    (PortPlease2("\u00e9"), bytes.fromhex("0002 7a e9")),
    (PortPlease2(LAST_CHARACTER), bytes.fromhex("0005 7a 766963ff")),
    (PortPlease2("a" * 255), bytes.fromhex("0100 7a") + b"a" * 255),
    (VIC, bytes.fromhex("0010 78") + BODY),
    (
        Alive2("v", 65535, epmd.HIDDEN_NODE, protocol=0, highest=5, lowest=5, extra=b"\x00\xff"),
        bytes.fromhex("0010 78 ffff 48 00 0005 0005 0001 76 0002 00ff"),
    ),
    (Alive2(LAST_CHARACTER, 0), bytes.fromhex("0011 78 0000 4d 00 0006 0005 0004 766963ff 0000")),
    (Alive2("a" * 255, 1), bytes.fromhex("010c 78 0001 4d 00 0006 0005 00ff") + b"a" * 255 + b"\0\0"),
]


@pytest.mark.parametrize(("request_", "data"), REQUESTS, ids=lambda value: repr(value)[:30])
def test_requests_have_the_bytes_of_the_standard(request_: Request, data: bytes) -> None:
    assert epmd.encode_request(request_) == data
    assert epmd.decode_request(data) == request_
    assert type(epmd.decode_request(data)) is type(request_)


@pytest.mark.parametrize("name", ["", "a" * 256, "\u0142"], ids=["empty", "256 bytes", "no Latin-1"])
def test_a_name_that_is_empty_or_too_long_is_never_sent(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 characters"):
        epmd.encode_request(PortPlease2(name))
    with pytest.raises(ValueError, match="1 to 255 characters"):
        epmd.encode_request(Alive2(name, 1))
    with pytest.raises(ValueError, match="1 to 255 characters"):
        epmd.encode_names_reply(NamesReply(4369, {name: 1}))


@pytest.mark.parametrize(("request_", "data"), REQUESTS, ids=lambda value: repr(value)[:30])
def test_a_request_that_is_cut_off_or_too_long_is_a_protocol_error(request_: Request, data: bytes) -> None:
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            epmd.decode_request(data[:end])
        if isinstance(request_, Alive2):
            with pytest.raises(ProtocolError):
                epmd.decode_request(max(end - 2, 0).to_bytes(2, "big") + data[2:end])
    with pytest.raises(ProtocolError):
        epmd.decode_request(data + b"x")


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("0000"),
        bytes.fromhex("0001 00"),
        bytes.fromhex("0001 ff"),
        bytes.fromhex("0002 6e 00"),
        bytes.fromhex("0001 7a"),
        bytes.fromhex("0101 7a") + b"a" * 256,
        bytes.fromhex("0001 78"),
        bytes.fromhex("000d 78 6448 4d 00 0006 0005 0000 0000"),
        bytes.fromhex("010d 78 0001 4d 00 0006 0005 0100") + b"a" * 256 + b"\0\0",
        bytes.fromhex("0010 78 6448 4d 00 0006 0005 ffff 766963 0000"),
        bytes.fromhex("0010 78 6448 4d 00 0006 0005 0003 766963 ffff"),
        bytes.fromhex("0010 78 6448 4d 00 0006 0005 0002 766963 0000"),
        bytes.fromhex("0011 78 6448 4d 00 0006 0005 0003 766963 0000 00"),
    ],
    ids=lambda data: data.hex()[:30],
)
def test_what_is_no_request_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        epmd.decode_request(data)


TABLES = [
    (NamesReply(4369, {}), b"\x00\x00\x11\x11"),
    (NamesReply(4369, {"vic": 25672}), b"\x00\x00\x11\x11name vic at port 25672\n"),
    (
        NamesReply(65535, {"a": 1, "\u00e9": 65535, LAST_CHARACTER: 2}),
        b"\x00\x00\xff\xffname a at port 1\nname \xe9 at port 65535\nname vic\xff at port 2\n",
    ),
    (NamesReply(1, {"x at port 5": 6}), b"\x00\x00\x00\x01name x at port 5 at port 6\n"),
    (NamesReply(1, {"name": 6, " ": 7}), b"\x00\x00\x00\x01name name at port 6\nname   at port 7\n"),
    (NamesReply(1, {"a\nb": 6, "\x1b[2J": 7}), b"\x00\x00\x00\x01name a\nb at port 6\nname \x1b[2J at port 7\n"),
    (NamesReply(1, {"a" * 255: 6}), b"\x00\x00\x00\x01name " + b"a" * 255 + b" at port 6\n"),
]


@pytest.mark.parametrize(("reply", "data"), TABLES, ids=lambda value: repr(value)[:40])
def test_tables_have_the_bytes_of_the_standard(reply: NamesReply, data: bytes) -> None:
    assert epmd.encode_names_reply(reply) == data
    assert epmd.decode_names_reply(data) == reply


def test_a_table_keeps_the_order_of_epmd() -> None:
    table = epmd.decode_names_reply(b"\x00\x00\x11\x11name b at port 1\nname a at port 2\n")
    assert list(table.names) == ["b", "a"]


def test_a_table_that_is_cut_off_is_a_protocol_error_except_between_lines() -> None:
    lines = [b"\x00\x00\x11\x11", b"name a at port 1\n", b"name bb at port 25672\n"]
    data = b"".join(lines)
    whole = {len(b"".join(lines[:count])): count - 1 for count in range(1, 4)}
    for end in range(len(data)):
        if end in whole:
            assert len(epmd.decode_names_reply(data[:end]).names) == whole[end]
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
def test_a_garbage_table_is_a_protocol_error(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        epmd.decode_names_reply(b"\x00\x00\x11\x11" + text)


@pytest.mark.parametrize("left", [b"zzz at port 5\n", b"\n", b"\xff\n\n", b"name x at port 99999\n"])
def test_what_is_left_of_a_name_with_a_line_in_it_spoils_no_table(left: bytes) -> None:
    """Such a name, as `a at port 1\\nzzz`, may be registered by anybody."""
    data = b"\x00\x00\x11\x11name a at port 1\n" + left + b"name vic at port 4711\n"
    assert epmd.decode_names_reply(data).names == {"a": 1, "vic": 4711}


@pytest.mark.parametrize("port", [65536, 99999])
def test_a_table_with_a_port_that_no_node_can_have_is_a_protocol_error(port: int) -> None:
    with pytest.raises(ProtocolError):
        epmd.decode_names_reply(b"\x00\x00\x11\x11name a at port %d\n" % port)


def test_a_table_has_no_more_names_than_any_epmd_holds() -> None:
    lines = [b"name %d at port 1\n" % number for number in range(_limits.MAX_EPMD_NAMES + 1)]
    assert len(epmd.decode_names_reply(bytes(4) + b"".join(lines[:-1])).names) == _limits.MAX_EPMD_NAMES
    with pytest.raises(ProtocolError, match="more than 4096 names"):
        epmd.decode_names_reply(bytes(4) + b"".join(lines))


def test_a_name_has_no_more_bytes_than_epmd_takes() -> None:
    assert epmd.decode_names_reply(bytes(4) + b"name " + b"x" * 1020 + b" at port 1\n").names == {"x" * 1020: 1}
    for size in (0, 1021, 100_000):
        with pytest.raises(ProtocolError, match="line that is none"):
            epmd.decode_names_reply(bytes(4) + b"name " + b"x" * size + b" at port 1\n")


def test_a_garbage_table_is_quoted_shortly() -> None:
    with pytest.raises(ProtocolError) as caught:
        epmd.decode_names_reply(b"\x00\x00\x11\x11" + b"\x1b" * 100_000 + b"\n")
    assert len(str(caught.value)) < 300
    assert "\x1b" not in str(caught.value)


def test_a_port_reply_has_the_bytes_of_the_standard() -> None:
    found = b"\x77\x00" + BODY
    assert epmd.encode_port_reply(VIC) == found
    assert epmd.decode_port_reply(found) == VIC
    assert epmd.encode_port_reply(None) == b"\x77\x01"
    assert epmd.decode_port_reply(b"\x77\x01") is None
    assert epmd.decode_port_reply(b"\x77\xff") is None


@pytest.mark.parametrize("registration", [request for request, _data in REQUESTS if isinstance(request, Alive2)])
def test_a_port_reply_survives_a_round_trip_and_no_cut(registration: Alive2) -> None:
    data = epmd.encode_port_reply(registration)
    assert epmd.decode_port_reply(data) == registration
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            epmd.decode_port_reply(data[:end])
    with pytest.raises(ProtocolError):
        epmd.decode_port_reply(data + b"\0")


@pytest.mark.parametrize("data", [b"", b"\x77", b"\x78\x00", b"HTTP/1.0 400", b"\x77\x00" + bytes(12)])
def test_a_garbage_port_reply_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        epmd.decode_port_reply(data)


ALIVE2_REPLIES = [
    (Alive2Reply(0, 0x65F00D42, wide=True), bytes.fromhex("76 00 65f00d42")),
    (Alive2Reply(0, 0xFFFFFFFF), bytes.fromhex("76 00 ffffffff")),
    (Alive2Reply(1, 0, wide=True), bytes.fromhex("76 01 00000000")),
    (Alive2Reply(0, 3, wide=False), bytes.fromhex("79 00 0003")),
    (Alive2Reply(0, 0xFFFF, wide=False), bytes.fromhex("79 00 ffff")),
    (Alive2Reply(1, 99, wide=False), bytes.fromhex("79 01 0063")),
]


@pytest.mark.parametrize(("reply", "data"), ALIVE2_REPLIES)
def test_both_replies_to_a_registration_have_the_bytes_of_the_standard(reply: Alive2Reply, data: bytes) -> None:
    assert epmd.encode_alive2_reply(reply) == data
    assert epmd.decode_alive2_reply(data) == reply
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            epmd.decode_alive2_reply(data[:end])
    with pytest.raises(ProtocolError):
        epmd.decode_alive2_reply(data + b"\0")


@pytest.mark.parametrize("data", [bytes.fromhex("79 00 00000003"), bytes.fromhex("76 00 0003"), b"abcd", b"abcdef"])
def test_a_reply_to_a_registration_of_the_wrong_form_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        epmd.decode_alive2_reply(data)


def test_a_table_is_shown_as_epmd_names_prints_it() -> None:
    up = "epmd: up and running on port 4369 with data:\n"
    assert epmd.render(4369, {}) == up
    assert epmd.render(4369, {"b": 2, "a": 1}) == up + "name a at port 1\nname b at port 2\n"
    assert epmd.render(4369, {"\x1b[2J\n": 1}) == up + "name ?[2J? at port 1\n"
    assert epmd.render(4369, None) == "epmd: Cannot connect to local epmd\n"


def test_the_dump_tells_the_descriptor_of_each_active_name() -> None:
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


@pytest.mark.parametrize(("request_", "data"), REQUESTS, ids=lambda value: repr(value)[:30])
def test_every_other_tag_is_no_request_of_this_kind(request_: Request, data: bytes) -> None:
    for tag in set(range(256)) - {data[2]}:
        try:
            decoded = epmd.decode_request(data[:2] + bytes([tag]) + data[3:])
        except ProtocolError:
            continue
        assert tag in (epmd.NAMES_REQ, epmd.DUMP_REQ, epmd.PORT_PLEASE2_REQ)
        assert type(decoded) is not type(request_)


@pytest.mark.parametrize("reply", [Alive2("vic", 4711), None])
def test_every_other_tag_is_no_answer_about_a_name(reply: Alive2 | None) -> None:
    data = epmd.encode_port_reply(reply)
    for tag in set(range(256)) - {epmd.PORT2_RESP}:
        with pytest.raises(ProtocolError):
            epmd.decode_port_reply(bytes([tag]) + data[1:])


@pytest.mark.parametrize("data", [data for _reply, data in ALIVE2_REPLIES[2:4]])
def test_every_other_tag_is_no_reply_to_a_registration(data: bytes) -> None:
    for tag in set(range(256)) - {data[0]}:
        with pytest.raises(ProtocolError):
            epmd.decode_alive2_reply(bytes([tag]) + data[1:])


def test_what_is_shown_of_garbage_is_cut_off() -> None:
    with pytest.raises(ValueError, match=f"unlike {'a' * 20!r}$"):
        epmd.encode_request(PortPlease2("a" * 256))
    with pytest.raises(ProtocolError, match=f"starts with {b'ab'!r}$"):
        epmd.decode_port_reply(b"abc")
    with pytest.raises(ProtocolError, match=f"is none: {b'a' * 8!r}$"):
        epmd.decode_alive2_reply(b"a" * 9)
    with pytest.raises(ProtocolError, match=f"is none: {b'a' * 40!r}$"):
        epmd.decode_names_reply(bytes(4) + b"a" * 41 + b"\n")
