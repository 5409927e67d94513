# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and epmds that lie to the module's code: it ends in time, with one sentence, and takes little memory."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from pathlib import Path

import pytest
import trustme

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import repair
from ansible_collections.beamops.epmd.plugins.module_utils._steps.report import Outcome
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom
from ansible_collections.beamops.epmd.tests.fakes import (
    HOSTILE_MEBIBYTES,
    FakeServer,
    Handler,
    NodePeer,
    answer,
    drip,
    epmd,
    epmd_server,
    flood,
    grows_by_less_than,
    hang,
    node,
    say,
    terms,
)
from ansible_collections.beamops.epmd.tests.fuzz.targets import CALLER, REFERENCE

SHORT = 0.5
LONG = 60.0
ENDLESS = "no answer within"
"""What is said of a lie that only time ends; all others are recognized at once, however long there would be."""

COOKIE = "MonsterCookie"
MARGIN = 5
"""Seconds beyond the timeout. One is promised; on a loaded machine it takes longer, and what has no end never ends."""

HEAD = b"\x00\x00\x11\x11"
NAMED = b"snamed:\x00\x1a1F2E3D4C5B6A@epmd_register\x00\x00\x00\x07"


def ask(at_port: Handler, at_epmd: Handler, words: str, timeout: float = SHORT, cafile: str | None = None) -> Outcome:
    """Have vic registered, which is said to be at this port: it fails with these words, and keeps what always holds."""
    if ENDLESS not in words:
        timeout = LONG
    with FakeServer(at_port) as peer, FakeServer(at_epmd) as daemon:
        options = Options(
            ["vic"],
            port=peer.port,
            cookie=COOKIE,
            epmd_port=daemon.port,
            start_epmd=False,
            timeout=timeout,
            tls_cafile=cafile,
        )
        with grows_by_less_than(HOSTILE_MEBIBYTES):
            started = time.monotonic()
            outcome = ensure(options, Mode.REPAIR)
            took = time.monotonic() - started
    assert took < timeout + MARGIN
    for sentence in (outcome.msg, *(found["msg"] for found in outcome.nodes)):
        assert sentence.isprintable()
        assert len(sentence) <= _limits.MAX_SENTENCE
        assert COOKIE not in sentence
    assert (outcome.failed, outcome.changed) == (True, False)
    assert words in outcome.msg
    return outcome


def packet(data: bytes) -> bytes:
    """With the length of a handshake."""
    return struct.pack(">H", len(data)) + data


def challenge(name: bytes) -> bytes:
    return packet(NAMED) + packet(b"N" + struct.pack(">QIIH", NodePeer().flags, 1, 4, len(name)) + name)


def message(payload: bytes, to: bytes = terms.encode(CALLER)) -> bytes:
    """With the length of a message."""
    data = b"p\x83h\x03a\x02w\0" + to + b"\x83" + payload
    return struct.pack(">I", len(data)) + data


def reply(result: bytes, reference: bytes = terms.encode(REFERENCE)) -> bytes:
    return message(b"h\2" + reference + result)


VIC = NodePeer("vic@web1")
NO_NAMES = epmd({})
OTHER = terms.encode(REFERENCE._replace(words=(2, 0, 0)))
NILS = b"l" + struct.pack(">I", 16_000) + b"j" * 16_001

BEFORE_THE_CHALLENGE: dict[str, tuple[Handler, str]] = {
    "a length over the limit": (say(b"\xff\xff"), "a packet of 65535 bytes"),
    "a packet that never ends": (say(b"\x07\xd0s"), ENDLESS),
    "one byte after the other": (drip(packet(b"s" * 2000), 0.1), ENDLESS),
    "an unknown status again and again": (flood(packet(b"sxyz") * 1000), "unknown handshake status"),
    "lending a name again and again": (
        flood(packet(NAMED) * 1000),
        "is not expected in the handshake's state 'accepted'",
    ),
    "empty packets": (flood(bytes(10_000)), "a packet of 0 bytes"),
    "an old challenge": (say(packet(NAMED) + packet(b"n\0\5" + bytes(8) + b"vic@web1")), "of version 5"),
    "a name with an escape": (say(challenge(b"vic@web1\x1b[2J")), "which is not a valid node name"),
    "a name of two lines": (say(challenge(b"vic\nchanged=0@web1")), "which is not a valid node name"),
    "another name": (say(challenge(b"evil@web1")), "does not belong to it; running: evil@web1"),
    "a name that looks like none": (say(challenge(b"evil\x9b2J@web1")), "running: evil?2J@web1"),
}


@pytest.mark.parametrize("lie", BEFORE_THE_CHALLENGE)
def test_lies_before_the_challenge(lie: str) -> None:
    handler, words = BEFORE_THE_CHALLENGE[lie]
    ask(handler, NO_NAMES, words)


def proving(proof: bytes) -> Handler:
    """A node that answers our challenge with this."""

    def handler(connection: socket.socket) -> None:
        connection.sendall(challenge(b"vic@web1"))
        while len(connection.recv(4096, socket.MSG_PEEK)) < 30:
            pass  # our name, and then, after it was asked for, our digest
        connection.sendall(proof)
        hang(connection)

    return handler


@pytest.mark.parametrize(
    ("proof", "words"),
    [
        (packet(b"a" + bytes(16)), "does not know the cookie"),
        (packet(b"a"), "does not know the cookie"),
        (packet(b"a" + bytes(1000)), "does not know the cookie"),
        (packet(b"sok"), "is not expected in the handshake's state 'replied'"),
        (b"\xff\xff", "a packet of 65535 bytes"),
        (b"\0", ENDLESS),
        (b"", ENDLESS),
    ],
    ids=["wrong", "empty", "long", "a status", "a length over the limit", "half a length", "none"],
)
def test_a_wrong_digest(proof: bytes, words: str) -> None:
    outcome = ask(proving(proof), NO_NAMES, words)
    assert words == ENDLESS or "give the node's own cookie" in outcome.msg


AFTER_THE_PROOF: dict[str, tuple[Handler, str]] = {
    "a length of 4 GiB": (say(b"\xff\xff\xff\xff"), "a packet of 4294967295 bytes"),
    "a length over the limit": (
        say(struct.pack(">I", _limits.MAX_MESSAGE + 1)),
        f"a packet of {_limits.MAX_MESSAGE + 1} bytes",
    ),
    "silence": (hang, ENDLESS),
    "half a message": (say(reply(b"a\1")[:-1]), ENDLESS),
    "one byte after the other": (drip(message(b"a\1") * 100, 0.05), ENDLESS),
    "endless ticks": (flood(bytes(4)), ENDLESS),
    "endless ticks at once": (flood(bytes(1 << 20)), ENDLESS),
    "endless messages that are not for us": (flood(message(b"a\1", to=b"w\1x") * 1000), ENDLESS),
    "endless large messages": (flood(message(NILS)), ENDLESS),
    "endless replies to a call never made": (flood(reply(b"a\1", OTHER) * 1000), ENDLESS),
    "endless large replies to a call never made": (flood(reply(NILS, OTHER)), ENDLESS),
    "a reply to somebody else": (
        say(message(b"h\2" + terms.encode(REFERENCE) + b"a\1", to=b"w\1x")),
        ENDLESS,
    ),
    "nested terms": (say(reply(b"h\1" * 8000 + b"j")), "nested deeper than 64 levels"),
    "a count of 4 GiB": (say(reply(b"l\xff\xff\xff\xff")), "a term claims 4294967295 parts"),
    "a binary of 4 GiB": (say(reply(b"m\xff\xff\xff\xff")), "a term is cut off"),
    "an integer of 16,000 bytes": (say(reply(b"o\0\0\x3e\x80\0" + b"\xff" * 16_000)), "an integer of 16000 bytes"),
    "a long integer": (say(reply(b"o\0\0\4\0\0" + b"\xff" * 1024)), "the node answered 1090748135"),
    "a long list": (say(reply(NILS)), "the node answered [[], [], "),
    "escapes": (say(reply(terms.encode(b"\x1b[2J\n"))), r"the node answered b'\x1b[2J\n'"),
    "escapes in an atom": (say(reply(terms.encode(Atom("\x1b[2J\n\u202e")))), r"the node answered '\x1b[2J\n\u202e'"),
    "a compressed term": (say(reply(b"P\xff\xff\xff\xff" + bytes(100))), "a compressed term"),
    "that it is registered": (say(reply(terms.encode((Atom("ok"), 1)))), "does not have its name"),
    "garbage": (say(struct.pack(">I", 5) + b"HTTP/"), "a message that starts with b'HTTP'"),
}


@pytest.mark.parametrize("lie", AFTER_THE_PROOF)
def test_lies_after_the_proof(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the answer to `register_node`; to the questions before, the same bytes are no answer."""
    monkeypatch.setattr(repair, "_check_epmd", lambda *_given: None)
    handler, words = AFTER_THE_PROOF[lie]
    ask(node(handler, VIC), NO_NAMES, words)


LINE = b"name x at port 1\n"


def names(count: int) -> bytes:
    return b"".join(b"name %d at port 1\n" % number for number in range(count))


TABLES: dict[str, tuple[Handler, str]] = {
    "a million names": (answer(HEAD + names(1_000_000)), "1048576"),
    "endless names": (flood(LINE * 1000, HEAD), "more than 1048576 bytes"),
    "more names than there can be": (answer(HEAD + names(5000)), "4096 names"),
    "an endless line": (flood(b"x" * 10_000, HEAD), "more than 1048576 bytes"),
    "one byte after the other": (drip(HEAD + LINE * 100, 0.05), ENDLESS),
    "a table without an end": (say(HEAD + LINE), ENDLESS),
    "silence": (hang, ENDLESS),
    "a name of two pages": (
        answer(HEAD + b"name " + b"x" * 10_000 + b" at port 1\n"),
        "the first line of its table is malformed",
    ),
    "an escape": (answer(HEAD + b"\x1b[2J\n"), r"the first line of its table is malformed: b'\x1b[2J\n'"),
    "a name, and nothing of it": (answer(HEAD + b"name vic at port 1\n"), "its answer about a name"),
}


@pytest.mark.parametrize("lie", TABLES)
def test_an_epmd_that_lies(lie: str) -> None:
    handler, words = TABLES[lie]
    outcome = ask(node(hang, VIC), handler, words, timeout=3)
    assert outcome.nodes[0]["verdict"] == "epmd_unresponsive"


OTHER_PORT = answer(HEAD + b"name vic at port 666\n")


class Changing:
    """An epmd that answers one question after the other, each in its own way."""

    def __init__(self, *handlers: Handler) -> None:
        self._handlers = list(handlers)

    def __call__(self, connection: socket.socket) -> None:
        self._handlers.pop(0)(connection)


@pytest.mark.parametrize(
    ("later", "words"),
    [
        ([flood(LINE * 1000, HEAD)], "gives no table now: its answer has more than 1048576 bytes"),
        ([hang], f"gives no table now: {ENDLESS}"),
        ([OTHER_PORT, answer(epmd_server.port_reply("vic", 666))], "does not have its name"),
        ([OTHER_PORT, hang], f"gives no table now: {ENDLESS}"),
    ],
    ids=["a flood", "silence", "another port", "a port, and silence when asked for it"],
)
def test_an_epmd_that_lies_only_after_the_repair(
    later: list[Handler], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "_check_epmd", lambda *_given: None)
    registered = node(say(reply(terms.encode((Atom("ok"), 1)))), VIC)
    ask(registered, Changing(NO_NAMES, NO_NAMES, *later), words, timeout=3)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (hang, ENDLESS),
        (flood(bytes(4)), "a packet of 0 bytes"),
        (flood(b"\xff" * 4), "a packet of 4294967295 bytes"),
        (drip(struct.pack(">I", 2000) + b"s" * 2000, 0.05), ENDLESS),
        (say(b""), ENDLESS),
    ],
    ids=["silence", "ticks", "a length of 4 GiB", "one byte after the other", "nothing"],
)
def test_lies_inside_of_tls(authority: trustme.CA, inside: Handler, words: str, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("vic").configure_cert(context)
    authority.cert_pem.write_to_path(f"{tmp_path}/ca.pem")

    def handler(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            inside(wrapped)

    ask(handler, NO_NAMES, words, cafile=f"{tmp_path}/ca.pem")


@pytest.mark.parametrize(
    ("outside", "words"),
    [
        (hang, ENDLESS),
        (drip(b"\x16\x03\x03\x40\x00" + bytes(5000), 0.05), ENDLESS),
        (flood(b"\x16\x03\x03\x40\x00" + bytes(0x4000)), ENDLESS),
        (flood(b"\x16\x03\x03\x00\x00"), "TLS"),
        (flood(b"\xff" * 10_000), "does not speak TLS"),
    ],
    ids=["silence", "one byte after the other", "endless hello requests", "endless empty records", "no TLS"],
)
def test_lies_before_tls(authority: trustme.CA, outside: Handler, words: str, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(f"{tmp_path}/ca.pem")
    ask(outside, NO_NAMES, words, cafile=f"{tmp_path}/ca.pem")
