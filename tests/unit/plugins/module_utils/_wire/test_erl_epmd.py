# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls to a node that answers from a table: which epmd, register, give up a socket."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._wire import erl_epmd
from ansible_collections.beamops.epmd.plugins.module_utils._wire.erl_epmd import ALREADY_REGISTERED
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom, Raw, Term
from ansible_collections.beamops.epmd.plugins.module_utils._wire.node import NodeConnection
from ansible_collections.beamops.epmd.tests.fakes import terms

ALREADY = (Atom("error"), Atom("already_registered"))
DONE = (Atom("ok"), 3)
SOCKET: Term = (Atom("$inet"), Atom("gen_tcp_socket"), 5)
HOLDING: Term = (Atom("state"), SOCKET, 4711)


class FakeNode:
    """A node whose erl_epmd has this state, and forgets its socket at a call of one of these functions."""

    def __init__(
        self, state: Term = HOLDING, forgets_at: tuple[str, ...] = (), replies: dict[str, Term] | None = None
    ) -> None:
        self.calls: list[tuple[str, str, list[Term]]] = []
        self._state = state
        self._forgets_at = forgets_at
        self._replies = replies or {}
        self._has_forgotten = False

    def call(self, module: str, function: str, arguments: list[Term]) -> Raw:
        self.calls.append((module, function, arguments))
        self._has_forgotten = self._has_forgotten or function in self._forgets_at
        reply: dict[str, Term] = {
            "register_node": DONE if self._has_forgotten else ALREADY,
            "get_state": self._state,
            **self._replies,
        }
        return Raw(terms.encode(reply.get(function, Atom("ok"))))

    @property
    def connection(self) -> NodeConnection:
        return cast("NodeConnection", self)

    @property
    def functions(self) -> list[str]:
        return [function for _module, function, _arguments in self.calls]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way is tried a second time, and no more."""
    monkeypatch.setattr(erl_epmd, "FORGET_SECONDS", 0.001)
    monkeypatch.setattr(erl_epmd, "POLL_SECONDS", 0.002)


def as_bytes(term: Term) -> Raw:
    return Raw(terms.encode(term))


@pytest.mark.parametrize(("inet6", "more"), [(False, []), (True, ["inet6"])])
def test_a_name_is_registered_character_by_character(inet6: bool, more: list[Any]) -> None:
    node = FakeNode(forgets_at=("register_node",))
    assert erl_epmd.register(node.connection, "vé", 4711, inet6) == DONE
    assert node.calls == [("erl_epmd", "register_node", [[ord("v"), ord("é")], 4711, *more])]


@pytest.mark.parametrize(
    ("state", "held"),
    [
        (HOLDING, (as_bytes(SOCKET), None, 4711)),
        ((Atom("state"), SOCKET, 4711, Atom("vic")), (as_bytes(SOCKET), "vic", 4711)),
        ((Atom("state"), SOCKET, 4711, [ord("v"), ord("é")], Atom("inet")), (as_bytes(SOCKET), "vé", 4711)),
        ((Atom("state"), SOCKET, Atom("undefined"), 5), (as_bytes(SOCKET), None, None)),
        ((Atom("state"), SOCKET), (as_bytes(SOCKET), None, None)),
        ((Atom("state"), -1, -1), None),
        ((Atom("state"), Atom("undefined")), None),
        ((Atom("state"),), None),
    ],
)
def test_what_a_node_holds_is_in_the_state(state: Term, held: tuple[Raw, str | None, int | None] | None) -> None:
    node = FakeNode(state)
    assert erl_epmd.held(node.connection) == held
    assert node.calls == [("sys", "get_state", ["erl_epmd"])]


def test_a_state_that_is_no_record_is_an_error() -> None:
    with pytest.raises(ProtocolError, match=r"^unexpected state of erl_epmd: \[1, 2\]$"):
        erl_epmd.held(FakeNode([1, 2]).connection)


@pytest.mark.parametrize(
    ("forgets_at", "called", "reply"),
    [
        (("register_node",), set(), DONE),
        (("shutdown",), {"shutdown"}, DONE),
        (("send",), {"shutdown", "send", "close"}, DONE),
        ((), {"shutdown", "send", "close"}, ALREADY_REGISTERED),
    ],
)
def test_a_dead_socket_is_shut_down_first_and_only_then_reported_as_closed(
    forgets_at: tuple[str, ...], called: set[str], reply: Term
) -> None:
    node = FakeNode(forgets_at=forgets_at)
    assert erl_epmd.register_without(node.connection, as_bytes(SOCKET), "vic", 4711, False) == reply
    assert set(node.functions) == called | {"register_node"}
    assert node.functions[0] == "register_node"


def test_without_a_dead_socket_nothing_is_forgotten() -> None:
    node = FakeNode()
    assert erl_epmd.register_without(node.connection, None, "vic", 4711, False) == ALREADY_REGISTERED
    assert node.functions == ["register_node"]


@pytest.mark.parametrize(
    ("module", "protocol", "chooses"),
    [
        (Atom("erl_epmd"), Atom("error"), False),
        (Atom("mine"), Atom("error"), True),
        (Atom("erl_epmd"), (Atom("ok"), [[[ord(letter) for letter in "inet6_tls"]]]), False),
        (Atom("erl_epmd"), (Atom("ok"), [[[ord(letter) for letter in "my"]]]), True),
        (Atom("erl_epmd"), (Atom("badrpc"), Atom("nodedown")), True),
    ],
)
def test_a_module_that_is_not_otps_may_choose_what_is_registered(module: Term, protocol: Term, chooses: bool) -> None:
    node = FakeNode(replies={"epmd_module": module, "get_argument": protocol})
    assert erl_epmd.may_choose_its_name(node.connection) is chooses


@pytest.mark.parametrize(
    ("reply", "port"),
    [
        (Atom("error"), 4369),
        ((Atom("ok"), [[[ord(digit) for digit in "4370"]]]), 4370),
        ((Atom("ok"), [[[ord(digit) for digit in "4371"], [49]], [[49]]]), 4371),
        ((Atom("ok"), [[[ord(letter) for letter in "many"]]]), None),
        ((Atom("ok"), [[[49] * 6]]), None),
        ((Atom("ok"), []), None),
        ((Atom("badrpc"), Atom("nodedown")), None),
        (Atom("ok"), None),
    ],
)
def test_the_port_of_its_epmd_is_that_of_its_flags(reply: Term, port: int | None) -> None:
    node = FakeNode(replies={"get_argument": reply})
    assert erl_epmd.epmd_port(node.connection) == port
    assert node.calls == [("init", "get_argument", ["epmd_port"])]


def failed(reason: Term) -> Term:
    return (Atom("badrpc"), (Atom("EXIT"), reason))


@pytest.mark.parametrize(
    ("reply", "registers"),
    [
        ((Atom("ok"), (Atom("r4"), Atom("vic"), 4711)), True),
        ((Atom("ok"), (Atom("r4"), [118, 105, 99], 4711)), True),
        ((Atom("ok"), (Atom("r4"), [], -1)), False),
        (failed((Atom("noproc"), [])), False),
        (failed((Atom("timeout"), [])), None),
        (failed(Atom("undef")), None),
        ((Atom("badrpc"), Atom("nodedown")), None),
        ((Atom("ok"), Atom("r4")), None),
        (Atom("ok"), None),
    ],
)
def test_a_node_registers_whose_erl_epmd_was_asked_for_a_name(reply: Term, registers: bool | None) -> None:
    node = FakeNode(replies={"call": reply})
    assert erl_epmd.registers(node.connection) is registers
    assert node.calls == [("gen_server", "call", ["erl_epmd", "client_info_req"])]


@pytest.mark.parametrize(
    ("reply", "fixed"),
    [((Atom("ok"), 0), False), ((Atom("ok"), 4711), True), (failed(Atom("undef")), False), (Atom("ok"), False)],
)
def test_a_fixed_port_is_one_that_others_know(reply: Term, fixed: bool) -> None:
    assert erl_epmd.has_fixed_port(FakeNode(replies={"listen_port_please": reply}).connection) is fixed


@pytest.mark.parametrize(("reply", "module"), [(Atom("my_epmd"), "my_epmd"), ((Atom("badrpc"), Atom("x")), None)])
def test_the_module_that_finds_others_is_that_of_net_kernel(reply: Term, module: str | None) -> None:
    node = FakeNode(replies={"epmd_module": reply})
    assert erl_epmd.epmd_module(node.connection) == module
    assert node.calls == [("net_kernel", "epmd_module", [])]
