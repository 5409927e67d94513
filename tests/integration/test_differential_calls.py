# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our handshake and calls against those of Erlang itself: erl_call, and `rpc:call` from another node."""

from __future__ import annotations

import base64
import random
import select
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import NodeRefused
from ansible_collections.beamops.epmd.plugins.module_utils._wire import control, etf
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom, Pid, Reference, Term
from ansible_collections.beamops.epmd.plugins.module_utils._wire.handshake import Handshake, State
from ansible_collections.beamops.epmd.plugins.module_utils._wire.node import NodeConnection
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, terms
from ansible_collections.beamops.epmd.tests.integration.differential import TERMS, sent
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp

CALLS = min(TERMS // 5, 2000)
BY_ERL_CALL = CALLS // 10
"""Each takes a process."""

PROBES: list[tuple[str, str, list[Term]]] = [
    ("gen_server", "call", [Atom("erl_epmd"), Atom("client_info_req")]),
    ("erl_epmd", "listen_port_please", [[], []]),
    ("net_kernel", "epmd_module", []),
    ("init", "get_argument", [Atom("epmd_port")]),
    ("init", "get_argument", [Atom("proto_dist")]),
    ("erl_epmd", "register_node", [[118, 105, 99], 4711]),
    ("erlang", "node", []),
    ("no_such_module", "f", []),
    ("erlang", "throw", [Atom("x")]),
]
"""What we ask nodes, and what goes wrong."""


@pytest.fixture
def connection(node: Node) -> Iterator[NodeConnection]:
    """Ours to the node."""
    opened = NodeConnection.open("127.0.0.1", node.port, Deadline(100), Deadline(300))
    try:
        opened.authenticate(COOKIE.encode())
        yield opened
    finally:
        opened.close()


@pytest.fixture
def other(otp: Otp, epmd: Epmd) -> Iterator[Node]:
    """Another node, which calls the first as nodes do."""
    with otp.node("other", epmd_port=epmd.port, cookie=COOKIE) as running:
        yield running


def packed(term: Term) -> str:
    """A term as an expression that a node evaluates."""
    return f'binary_to_term(base64:decode("{base64.b64encode(bytes([131]) + terms.encode(term)).decode()}"))'


def erl_call(otp: Otp, port: int, cookie: str, call: str) -> subprocess.CompletedProcess[str]:
    """Let erl_call call a function; the node lends it a name."""
    command = [str(otp.bindir / "erl_call"), "-R", "-address", f"127.0.0.1:{port}", "-c", cookie, "-a", call]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=otp.environment())


def test_calls_have_the_results_of_rpc(node: Node, other: Node, connection: NodeConnection, seen: Counter[str]) -> None:
    chance = random.Random(1)
    calls = [("lists", "duplicate", [2, sent(chance)]) for _each in range(CALLS)] + PROBES
    for start in range(0, len(calls), 200):
        some = calls[start : start + 200]
        results = [connection.call(*call) for call in some]
        asked = [(Atom(module), Atom(function), list(arguments)) for module, function, arguments in some]
        both = packed(list(zip(asked, results, strict=True)))
        compared = f"[rpc:call('{node.name}', M, F, A) =:= Own || {{{{M, F, A}}, Own}} <- {both}]"
        same = other.eval(compared, 300).strip("[]").split(",")
        assert [call for call, answer in zip(some, same, strict=True) if answer != "true"] == []
        seen[""] += len(some)


def plain(chance: random.Random, depth: int = 3) -> str:
    """A term that erl_call can send, as it takes it."""
    kind = chance.randrange(5 if depth else 3)
    if kind == 0:
        return "".join(chance.choices("abcxyz", k=chance.choice([1, 8, 40])))
    if kind == 1:
        return str(chance.choice([256, -1, 1 << 26, chance.randrange(-(2**27), 0)]))  # none that looks like a letter
    if kind == 2:
        return '"' + "".join(chance.choices("abc xyz", k=chance.choice([1, 20]))) + '"'
    parts = ",".join(plain(chance, depth - 1) for _each in range(chance.choice([1, 2, 3])))
    return f"[{parts}]" if kind == 3 else f"{{{parts}}}"


def test_calls_have_the_results_of_erl_call(
    otp: Otp, node: Node, other: Node, connection: NodeConnection, seen: Counter[str]
) -> None:
    chance = random.Random(2)
    written = [plain(chance) for _each in range(BY_ERL_CALL)]
    printed = [erl_call(otp, node.port, COOKIE, f"lists reverse [[{text}]]").stdout for text in written]
    for text, theirs in zip(written, printed, strict=True):
        # The arguments are read by the other node: we have no text of terms.
        value = other.eval(f"base64:encode(term_to_binary({text}))").strip('<>"')
        ours = connection.call("lists", "reverse", [[etf.Raw(base64.b64decode(value)[1:])]])
        assert other.eval(f"{theirs.strip()} =:= {packed(ours)}") == "true", text
        seen[""] += 1


def test_a_wrong_cookie_is_refused_for_all(otp: Otp, node: Node, other: Node, seen: Counter[str]) -> None:
    opened = NodeConnection.open("127.0.0.1", node.port, Deadline(100), Deadline(100))
    with pytest.raises(NodeRefused):
        opened.authenticate(b"wrong")
    opened.close()
    assert erl_call(otp, node.port, "wrong", "erlang node").returncode
    assert other.eval(f"erlang:set_cookie('{node.name}', wrong), rpc:call('{node.name}', erlang, node, [])") == (
        "{badrpc,nodedown}"
    )
    seen[""] += 3


class Recorded(NamedTuple):
    """What was said on a connection, by whoever connected and by the node."""

    client: bytearray
    node: bytearray


def recorder(port: int, recorded: Recorded) -> FakeServer:
    """A server that hands everything on to this port and back."""

    def handler(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as onwards:
            ways = {connection: (onwards, recorded.client), onwards: (connection, recorded.node)}
            while True:
                for source in select.select(list(ways), [], [])[0]:
                    sink, log = ways[source]
                    data = source.recv(65536)
                    if not data:
                        return
                    log += data
                    sink.sendall(data)

    return FakeServer(handler)


def packets(data: bytes, handshake: int) -> list[bytes]:
    """The packets on one way: so many of the handshake, then those of a connected node."""
    found: list[bytes] = []
    while data:
        width = 2 if len(found) < handshake else 4
        end = width + int.from_bytes(data[:width], "big")
        found.append(bytes(data[width:end]))
        data = data[end:]
    return found


def test_the_handshake_and_the_call_are_those_of_erl_call(otp: Otp, node: Node, seen: Counter[str]) -> None:
    recorded = Recorded(bytearray(), bytearray())
    with recorder(node.port, recorded) as server:
        done = erl_call(otp, server.port, COOKIE, 'lists reverse [[1,abc,{x,"yz"}]]')
    assert done.stdout == '[{x, "yz"}, abc, 1]', done
    send_name, reply, call, *_ticks = packets(bytes(recorded.client), 2)
    status, challenge, acknowledgement, *answers = packets(bytes(recorded.node), 3)
    # We, with the host and the challenge that erl_call took, say the same, and understand what the node said to it.
    host = send_name[15:].decode()
    machine = Handshake(host, int.from_bytes(reply[1:5], "big"))
    ours = machine.start()
    # Between them are flags, and a creation, which the node gives us.
    assert (ours[:1], ours[13:]) == (send_name[:1], send_name[13:])
    assert [machine.receive(packet) for packet in (status, challenge)] == [b"", b""]
    assert machine.peer is not None
    assert machine.peer.name == node.name
    assert machine.reply(COOKIE.encode()) == [reply]
    assert machine.receive(acknowledgement) == b""
    assert machine.state is State.CONNECTED
    # The same call, but in the older form of `rex`, without a reference; the group leader is another one, too.
    theirs = control.decode_message(call)
    assert theirs.payload is not None
    caller, request = etf.decode(theirs.payload)
    assert isinstance(caller, Pid)
    reference = Reference(caller.node, caller.creation, (1, 0, 0))
    own = control.decode_message(control.call(caller, reference, "lists", "reverse", request[3]))
    assert own.payload is not None
    assert own.control == theirs.control
    assert etf.decode(own.payload)[2][:4] == request[:4]
    messages = [control.decode_message(packet) for packet in answers if packet]
    results = [etf.decode(message.payload) for message in messages if message.payload]
    assert results == [(Atom("rex"), [(Atom("x"), [121, 122]), Atom("abc"), 1])]
    seen[""] += 1
