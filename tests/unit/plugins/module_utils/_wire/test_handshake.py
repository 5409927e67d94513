# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handshake against golden packets, and against a peer written from `dist_util.erl`.

Tests `_wire/digest.py`, too.
"""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import NoMd5, ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._wire import digest, handshake
from ansible_collections.beamops.epmd.plugins.module_utils._wire.handshake import Handshake, Peer, State
from ansible_collections.beamops.epmd.tests.fakes._node_peer import (
    ATOM_CACHE,
    COOKIE,
    CREATION,
    DIST_HDR_ATOM_CACHE,
    FRAGMENTS,
    MANDATORY_25_DIGEST,
    MANDATORY_DFLAGS_25,
    NAME_ME,
    PUBLISHED,
    THEIRS,
    UNLINK_ID,
    V4_NC,
    NodePeer,
    Refusal,
)

OURS = 0x12345678


def dynamic() -> Handshake:
    return Handshake("epmd_register", OURS)


def static() -> Handshake:
    return Handshake("vic@web1", OURS, dynamic=False)


def old() -> Handshake:
    return Handshake("vic@web1", OURS, dynamic=False, old=True)


KINDS = pytest.mark.parametrize("make", [dynamic, static, old])


def accepted(make: Callable[[], Handshake]) -> Handshake:
    machine = make()
    machine.start()
    named = b"snamed:\x00\x0fx@epmd_register" + struct.pack(">I", 7)
    assert machine.receive(named if make is dynamic else b"sok") == b""
    assert machine.state is State.ACCEPTED
    return machine


def challenged(make: Callable[[], Handshake]) -> Handshake:
    machine = accepted(make)
    assert machine.receive(CHALLENGE) == b""
    assert machine.state is State.CHALLENGED
    return machine


CHALLENGE = bytes.fromhex("4e 00000004 07070f94 ffffffff 65f00d42 000d") + b"ejabberd@web1"
OLD_CHALLENGE = bytes.fromhex("6e 0005 07070f94 ffffffff") + b"ejabberd@web1"


@pytest.mark.parametrize(
    ("cookie", "challenge", "expected"),
    [
        (b"secret", 0, "175ec77a7f63082590987d0d8b051aff"),
        (b"secret", 305419896, "1f4d9b4e53cadc3999bcdb386a23c240"),
        (b"MonsterCookie", 4294967295, "e0e6f6339db71a821c2fb369590a21d8"),
    ],
)
def test_the_digest_is_that_of_erlang_md5(cookie: bytes, challenge: int, expected: str) -> None:
    assert digest.digest(cookie, challenge).hex() == expected


def test_a_host_in_fips_mode_has_a_digest(tmp_path: Path) -> None:
    """There, OpenSSL gives MD5 only to who says that it is not for security; the protocol of Erlang has no other."""
    (tmp_path / "fips.cnf").write_text("openssl_conf = a\n[a]\nalg_section = b\n[b]\ndefault_properties = fips=yes\n")
    script = f"from {digest.__name__} import digest; print(digest(b'secret', 0).hex())"
    environment = {**os.environ, "OPENSSL_CONF": str(tmp_path / "fips.cnf")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"175ec77a7f63082590987d0d8b051aff\n"


def test_a_python_before_3_9_has_no_word_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    md5 = hashlib.md5
    monkeypatch.setattr(hashlib, "md5", lambda data: md5(data))  # noqa: PLW0108  # pylint: disable=unnecessary-lambda # takes no usedforsecurity
    assert digest.digest(b"secret", 0).hex() == "175ec77a7f63082590987d0d8b051aff"


@pytest.mark.parametrize("error", [ValueError("disabled for FIPS"), AttributeError("md5")])
def test_a_python_without_md5_says_so(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_data: bytes, **_options: Any) -> None:
        raise error

    monkeypatch.setattr(hashlib, "md5", refuse)
    with pytest.raises(NoMd5, match=r"^the Python on this host has no MD5, .* ansible_python_interpreter$"):
        digest.digest(b"secret", 0)


def test_our_flags_are_those_that_otp_25_and_26_require_of_a_hidden_node() -> None:
    flags = handshake.OUR_FLAGS
    assert flags & MANDATORY_DFLAGS_25 == MANDATORY_DFLAGS_25 == handshake.MANDATORY_25
    assert flags & V4_NC
    assert flags & UNLINK_ID
    assert flags & MANDATORY_25_DIGEST
    assert not flags & PUBLISHED
    assert not flags & (ATOM_CACHE | DIST_HDR_ATOM_CACHE | FRAGMENTS)


@pytest.mark.parametrize(
    ("make", "packet"),
    [
        (dynamic, bytes.fromhex("4e 00000006 07070f94 00000000 000d") + b"epmd_register"),
        (static, bytes.fromhex("4e 00000004 07070f94 00000000 0008") + b"vic@web1"),
        (old, bytes.fromhex("6e 0005 07070f94") + b"vic@web1"),
    ],
)
def test_send_name_has_the_bytes_of_the_standard(make: Callable[[], Handshake], packet: bytes) -> None:
    assert make().start() == packet


def test_the_whole_of_version_6_with_a_dynamic_name() -> None:
    machine, peer = dynamic(), NodePeer()
    status, challenge = peer.on_name(machine.start())
    assert machine.receive(status) == b""
    assert machine.name == "1F2E3D4C5B6A@epmd_register"
    assert machine.creation == 7
    assert machine.receive(challenge) == b""
    assert machine.peer == Peer("ejabberd@web1", peer.flags, CREATION)
    (reply,) = machine.reply(COOKIE)
    assert reply.hex() == "72" + "12345678" + "e0e6f6339db71a821c2fb369590a21d8"
    assert machine.receive(peer.on_reply(reply)) == b""
    assert machine.state is State.CONNECTED
    assert machine.refusal == ""


@pytest.mark.parametrize("status", [b"ok", b"ok_simultaneous"])
def test_the_whole_of_version_6_with_a_static_name(status: bytes) -> None:
    machine, peer = static(), NodePeer(status=status)
    for packet in peer.on_name(machine.start()):
        assert machine.receive(packet) == b""
    assert (machine.name, peer.other_name, peer.other_creation) == ("vic@web1", b"vic@web1", 0)
    (reply,) = machine.reply(COOKIE)
    machine.receive(peer.on_reply(reply))
    assert machine.state is State.CONNECTED


def test_the_whole_of_version_5_with_a_node_before_otp_23() -> None:
    machine, peer = old(), NodePeer(version=22)
    for packet in peer.on_name(machine.start()):
        assert machine.receive(packet) == b""
    assert machine.peer == Peer("ejabberd@web1", peer.flags, 0)
    (reply,) = machine.reply(COOKIE)
    machine.receive(peer.on_reply(reply))
    assert machine.state is State.CONNECTED


def test_version_5_answered_by_an_n_challenge_sends_the_complement_first() -> None:
    machine, peer = old(), NodePeer(version=23)
    status, challenge = peer.on_name(machine.start())
    assert challenge[:1] == b"N"
    machine.receive(status)
    machine.receive(challenge)
    complement, reply = machine.reply(COOKIE)
    assert complement.hex() == "63" + "00000004" + "00000000"
    peer.on_complement(complement)
    assert peer.other_flags == handshake.OUR_FLAGS
    machine.receive(peer.on_reply(reply))
    assert machine.state is State.CONNECTED


def test_a_node_of_otp_25_closes_on_version_5() -> None:
    with pytest.raises(Refusal):
        NodePeer(version=25).on_name(old().start())


def test_the_digest_of_the_mandatory_flags_stands_for_all_of_them() -> None:
    machine = accepted(static)
    flags = MANDATORY_25_DIGEST | NAME_ME
    machine.receive(b"N" + struct.pack(">QIIH", flags, 1, 4, 5) + b"a@web")
    assert machine.peer == Peer("a@web", flags | MANDATORY_DFLAGS_25, 4)


def test_without_the_digest_no_mandatory_flag_is_added() -> None:
    machine = accepted(static)
    machine.receive(b"N" + struct.pack(">QIIH", V4_NC | NAME_ME, 1, 4, 5) + b"a@web")
    assert machine.peer == Peer("a@web", V4_NC | NAME_ME, 4)


@KINDS
@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (b"snok", b"", "try again"),
        (b"snot_allowed", b"", "net_kernel:allow"),
        (b"salive", b"sfalse", "another run"),
    ],
)
def test_a_refusing_status_ends_the_handshake_and_says_why(
    make: Callable[[], Handshake], status: bytes, answer: bytes, why: str
) -> None:
    machine = make()
    machine.start()
    assert machine.receive(status) == answer
    assert machine.state is State.REFUSED
    assert why in machine.refusal
    for packet in (b"sok", CHALLENGE, OLD_CHALLENGE, b"a" + bytes(16)):
        with pytest.raises(ProtocolError):
            machine.receive(packet)
    with pytest.raises(RuntimeError):
        machine.reply(COOKIE)


@KINDS
@pytest.mark.parametrize(
    "status", [b"", b"OK", b"ok ", b"ok\0", b"true", b"false", b"okay", b"named", b"\xff" * 2000, b"nok_"]
)
def test_an_unknown_status_is_a_protocol_error(make: Callable[[], Handshake], status: bytes) -> None:
    machine = make()
    machine.start()
    with pytest.raises(ProtocolError) as caught:
        machine.receive(b"s" + status)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (b"s" + b"x" * 21, f"an unknown handshake status {b'x' * 20!r}"),
        (b"snamed:\x00\x29" + b"x" * 41 + bytes(4), f"it lends us an invalid name: {'x' * 40!r}"),
        (
            b"snamed:\x00\x29" + b"x" * 40,
            "the name that it lends us is cut off: 41 bytes expected at offset 2, 40 left",
        ),
        (b"snamed:\x00\x01x" + bytes(3), "the name that it lends us is cut off: 4 bytes expected at offset 3, 3 left"),
        (
            b"x" * 9,
            f"a packet of 9 bytes that starts with {b'x' * 8!r} is not expected in the handshake's state 'name sent'",
        ),
        (
            CHALLENGE[:20],
            f"a packet of 20 bytes that starts with {CHALLENGE[:8]!r} is not expected in the handshake's state "
            "'name sent'",
        ),
    ],
)
def test_a_malformed_packet_is_quoted_only_in_part(packet: bytes, words: str) -> None:
    machine = dynamic()
    machine.start()
    with pytest.raises(ProtocolError) as caught:
        machine.receive(packet)
    assert str(caught.value) == words


@pytest.mark.parametrize("status", [b"sok", b"sok_simultaneous"])
def test_a_dynamic_name_has_to_be_lent(status: bytes) -> None:
    machine = dynamic()
    machine.start()
    with pytest.raises(ProtocolError, match="does not lend us a name"):
        machine.receive(status)


@pytest.mark.parametrize("make", [static, old])
def test_a_lent_name_that_we_did_not_ask_for_is_a_protocol_error(make: Callable[[], Handshake]) -> None:
    machine = make()
    machine.start()
    with pytest.raises(ProtocolError, match="that we did not ask for"):
        machine.receive(b"snamed:\x00\x0fx@epmd_register" + bytes(4))


def lent(name: bytes) -> bytes:
    return b"snamed:" + struct.pack(">H", len(name)) + name + struct.pack(">I", 7)


@pytest.mark.parametrize("end", range(len(b"snamed:"), len(lent(b"x@epmd_register"))))
def test_a_lent_name_that_is_cut_off_is_a_protocol_error(end: int) -> None:
    machine = dynamic()
    machine.start()
    with pytest.raises(ProtocolError):
        machine.receive(lent(b"x@epmd_register")[:end])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x", id="without a host"),
        pytest.param(b"x@", id="with an empty host"),
        pytest.param(b"x@other", id="with another host"),
        pytest.param(b"x@y@epmd_register", id="with two hosts"),
        pytest.param(b"@epmd_register", id="with a host only"),
        pytest.param(b"x" * (256 - 14) + b"@epmd_register", id="of 256 characters"),
        pytest.param(b"x" * 2000 + b"@epmd_register", id="of 2014 characters"),
    ],
)
def test_a_lent_name_that_is_not_valid_is_a_protocol_error(name: bytes) -> None:
    machine = dynamic()
    machine.start()
    with pytest.raises(ProtocolError):
        machine.receive(lent(name))


def test_what_follows_a_lent_name_is_ignored() -> None:
    # dist_util.erl takes the creation from the front of what follows the name.
    machine = dynamic()
    machine.start()
    assert machine.receive(lent(b"x@epmd_register") + b"more") == b""
    assert (machine.name, machine.creation) == ("x@epmd_register", 7)


def test_a_lent_name_of_255_characters_is_taken() -> None:
    machine = dynamic()
    machine.start()
    machine.receive(lent(b"x" * (255 - 14) + b"@epmd_register"))
    assert len(machine.name) == 255


@pytest.mark.parametrize(
    ("make", "challenge"), [(dynamic, CHALLENGE), (static, CHALLENGE), (old, CHALLENGE), (old, OLD_CHALLENGE)]
)
def test_a_challenge_that_is_cut_off_is_a_protocol_error(make: Callable[[], Handshake], challenge: bytes) -> None:
    whole = challenge.index(b"@") + 2 if challenge[:1] == b"n" else len(challenge)
    for end in range(whole):
        with pytest.raises(ProtocolError):
            accepted(make).receive(challenge[:end])


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        (CHALLENGE[:18], "its challenge is cut off: 19 bytes expected at offset 0, 18 left"),
        (CHALLENGE[:19], "its challenge is cut off: 13 bytes expected at offset 19, 0 left"),
        (CHALLENGE[:20], "its challenge is cut off: 13 bytes expected at offset 19, 1 left"),
        (OLD_CHALLENGE[:10], "its challenge is cut off: 11 bytes expected at offset 0, 10 left"),
        (OLD_CHALLENGE[:11], "it calls itself '', which is not a valid node name"),
        (OLD_CHALLENGE[:11] + b"x" * 81, f"it calls itself '{'x' * 80}', which is not a valid node name"),
    ],
)
def test_the_error_says_where_a_challenge_is_cut_off(challenge: bytes, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        accepted(old).receive(challenge)
    assert str(caught.value) == words


def test_what_follows_the_name_in_a_challenge_is_ignored() -> None:
    # "Any extra data after Node must be accepted and ignored": Distribution Handshake, step 4.
    machine = accepted(static)
    assert machine.receive(CHALLENGE + b"more") == b""
    assert machine.peer is not None
    assert machine.peer.name == "ejabberd@web1"


def test_an_old_challenge_has_no_place_in_version_6() -> None:
    for make in (dynamic, static):
        with pytest.raises(ProtocolError, match="version 5"):
            accepted(make).receive(OLD_CHALLENGE)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"ejabberd", id="without a host"),
        pytest.param(b"@", id="nothing but @"),
        pytest.param(b"@web1", id="without a name"),
        pytest.param(b"ejabberd@", id="with an empty host"),
        pytest.param(b"a@b@c", id="with two hosts"),
        pytest.param(b"a\n@web1", id="with a line end"),
        pytest.param(b"a@\x1b[2Jweb1", id="with an escape"),
        pytest.param(b"a\x7f@web1", id="with a delete"),
        pytest.param(b"x" * 251 + b"@web1", id="of 256 characters"),
        pytest.param(b"x" * 2000 + b"@web1", id="of 2005 characters"),
    ],
)
@pytest.mark.parametrize("new", [True, False])
def test_a_challenge_with_an_invalid_node_name_is_a_protocol_error(name: bytes, new: bool) -> None:
    challenge = b"N" + struct.pack(">QIIH", 0, 1, 4, len(name)) if new else b"n" + struct.pack(">HII", 5, 0, 1)
    with pytest.raises(ProtocolError) as caught:
        accepted(old).receive(challenge + name)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"x" * 250 + b"@web1", "x" * 250 + "@web1"),
        (b"\xe9jabberd@web1", "\u00e9jabberd@web1"),
        ("\u00e9jabberd@web1".encode(), "\u00c3\u00a9jabberd@web1"),
        (b"a@b", "a@b"),
        (b"a ~@b", "a ~@b"),
    ],
    ids=["255 characters", "one byte", "two bytes", "short", "with the first and the last of ASCII"],
)
def test_a_name_of_up_to_255_bytes_is_taken_byte_by_byte(name: bytes, text: str) -> None:
    machine = accepted(static)
    machine.receive(b"N" + struct.pack(">QIIH", 0, 1, 4, len(name)) + name)
    assert machine.peer == Peer(text, 0, 4)


@KINDS
def test_a_packet_that_is_out_of_order_is_a_protocol_error(make: Callable[[], Handshake]) -> None:
    status, acknowledgement = b"sok", b"a" + bytes(16)
    every = [b"", b"s", b"N", b"n", b"a", b"r", b"c", b"\xff" * 40]
    started = make()
    started.start()
    replied = challenged(make)
    replied.reply(COOKIE)
    cases = [
        (make(), [*every, status, CHALLENGE, OLD_CHALLENGE, acknowledgement]),
        (started, [*every, CHALLENGE, OLD_CHALLENGE, acknowledgement]),
        (accepted(make), [*every, status, acknowledgement]),
        (challenged(make), [*every, status, CHALLENGE, OLD_CHALLENGE, acknowledgement]),
        (replied, [*(packet for packet in every if packet != b"a"), status, CHALLENGE, OLD_CHALLENGE]),
    ]
    for machine, refused in cases:
        before = machine.state
        for packet in refused:
            with pytest.raises(ProtocolError):
                machine.receive(packet)
            assert machine.state is before


@KINDS
def test_our_own_steps_out_of_order_are_a_defect_and_no_error_of_the_peer(make: Callable[[], Handshake]) -> None:
    machine = make()
    with pytest.raises(RuntimeError, match="the handshake's state is 'new', and has to be 'challenged'"):
        machine.reply(COOKIE)
    machine.start()
    with pytest.raises(RuntimeError, match="the handshake's state is 'name sent', and has to be 'new'"):
        machine.start()
    machine = accepted(make)
    with pytest.raises(RuntimeError):
        machine.reply(COOKIE)
    machine = challenged(make)
    machine.reply(COOKIE)
    with pytest.raises(RuntimeError):
        machine.reply(COOKIE)
    assert machine.state is State.REPLIED


def test_a_node_with_another_cookie_closes() -> None:
    machine, peer = dynamic(), NodePeer(cookie=b"AnotherCookie")
    for packet in peer.on_name(machine.start()):
        machine.receive(packet)
    (reply,) = machine.reply(COOKIE)
    with pytest.raises(Refusal):
        peer.on_reply(reply)


@KINDS
@pytest.mark.parametrize(
    "proof",
    [
        pytest.param(b"", id="none"),
        pytest.param(bytes(16), id="zeros"),
        pytest.param(digest.digest(b"AnotherCookie", OURS), id="of another cookie"),
        pytest.param(digest.digest(COOKIE, THEIRS), id="of their own challenge"),
        pytest.param(digest.digest(COOKIE, OURS)[:15], id="cut off"),
        pytest.param(digest.digest(COOKIE, OURS) + b"\0", id="too long"),
    ],
)
def test_a_peer_that_does_not_prove_the_cookie_is_refused(make: Callable[[], Handshake], proof: bytes) -> None:
    machine = challenged(make)
    machine.reply(COOKIE)
    assert machine.receive(b"a" + proof) == b""
    assert machine.state is State.REFUSED
    assert "cookie" in machine.refusal
    assert COOKIE.decode() not in machine.refusal


@KINDS
def test_the_cookie_itself_is_in_no_packet(make: Callable[[], Handshake]) -> None:
    machine = make()
    started = machine.start()
    assert COOKIE not in started
    assert not any(COOKIE in packet for packet in challenged(make).reply(COOKIE))
    assert COOKIE.decode() not in repr(machine)


def test_version_5_has_no_dynamic_names() -> None:
    with pytest.raises(ValueError, match="no dynamic names"):
        Handshake("epmd_register", OURS, dynamic=True, old=True)
