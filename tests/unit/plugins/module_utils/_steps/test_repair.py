# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole repair, of a node and an epmd that are honest: what is done, what is told, and what is not touched."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any
from unittest import mock

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._errors import NotRegistered
from ansible_collections.beamops.epmd.plugins.module_utils._host import command_line, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener
from ansible_collections.beamops.epmd.plugins.module_utils._host.vms import Vm
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import holders, records, repair
from ansible_collections.beamops.epmd.plugins.module_utils._steps.records import Observation
from ansible_collections.beamops.epmd.plugins.module_utils._steps.report import Outcome
from ansible_collections.beamops.epmd.plugins.module_utils._wire import erl_epmd
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Daemon, State, Table
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom, Raw, Term
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, NodePeer, epmd, node, rpc

COOKIE = "MonsterCookie"
DONE = (Atom("ok"), 3)
ALREADY = (Atom("error"), Atom("already_registered"))
SOCKET: Term = (Atom("$inet"), Atom("gen_tcp_socket"), 5)


class Lost:
    """A node `vic` that epmd has not. It answers to `register_node` with one reply after the other."""

    def __init__(self, *replies: Term, held: Term = -1) -> None:
        self.names: dict[str, int] = {"other": 1}
        self.asked: list[str] = []
        self.port = 0
        self.epmd_port = 0
        self.info: Term = (Atom("ok"), (Atom("r4"), Atom("vic"), 1))
        self.fixed: Term = (Atom("ok"), 0)
        self.module = "erl_epmd"
        self._replies = list(replies)
        self._held = held
        self._connections: list[socket.socket] = []

    def _answer(self, _module: str, function: str, arguments: list[Any]) -> Term:
        if function in ("call", "get_argument", "listen_port_please", "epmd_module"):
            port = (Atom("ok"), [[[ord(digit) for digit in str(self.epmd_port)]]])
            of: dict[str, Term] = {"call": self.info, "get_argument": port, "listen_port_please": self.fixed}
            return of.get(function, Atom(self.module))
        self.asked.append(function)
        if function == "get_state":
            return (Atom("state"), self._held, 4711)
        if function != "register_node":
            return Atom("ok")
        reply = self._replies.pop(0)
        if reply == DONE:
            self.have("".join(map(chr, arguments[0])), arguments[1])
        return reply

    def have(self, name: str, port: int) -> None:
        """Let epmd have this name, on a connection of the node's."""
        self.names[name] = port
        self._connections.append(socket.create_connection(("127.0.0.1", self.epmd_port)))

    def ensure(self, check_mode: bool = False, cookie: str = COOKIE, known: bool = False) -> Outcome:
        """known: its process was found, which is this one; else it is given by its port and cookie."""
        with FakeServer(node(rpc(self._answer), NodePeer("vic@web1"))) as peer, FakeServer(epmd(self.names)) as daemon:
            self.port, self.epmd_port = peer.port, daemon.port
            options = Options(["vic"], port=peer.port, cookie=cookie, epmd_port=daemon.port, timeout=60)
            if known:
                options = options._replace(port=None, cookie=None)
            flags = ["-sname", "vic", "-setcookie", cookie, "-epmd_port", str(daemon.port)]
            vm = Vm(os.getpid(), os.geteuid(), "vic", None, command_line.parse(["beam.smp", "--", *flags], {}))
            with mock.patch.object(vms, "find", return_value=[vm]), contextlib.ExitStack() as stack:
                outcome = ensure(options, Mode.PREDICT if check_mode else Mode.REPAIR)
                for connection in self._connections:
                    stack.enter_context(connection)
                return outcome


def ended(outcome: Outcome) -> tuple[str, bool, bool, str]:
    (found,) = outcome.nodes
    assert found["name"] == "vic@web1"
    assert outcome.changed == found["changed"]
    return found["verdict"], found["registered"], found["changed"], found["msg"]


def test_a_node_that_is_lost_registers_itself_and_epmd_has_it() -> None:
    lost = Lost(DONE)
    outcome = lost.ensure()
    assert ended(outcome) == ("missing", True, True, "registered")
    assert (outcome.failed, outcome.msg) == (False, "registered: vic@web1")
    assert ["which answers as an epmd but is not one" in warning for warning in outcome.warnings] == [True]
    assert lost.asked == ["register_node"]
    assert lost.names == {"other": 1, "vic": lost.port}
    (daemon,) = outcome.daemons
    assert (daemon["port"], daemon["started"], daemon["names"]) == (lost.epmd_port, False, lost.names)
    head = f"epmd: up and running on port {lost.epmd_port} with data:\nname other at port 1\n"
    assert outcome.diff == {"before": head, "after": f"{head}name vic at port {lost.port}\n"}


NOPROC: Term = (Atom("badrpc"), (Atom("EXIT"), (Atom("noproc"), [])))


@pytest.mark.parametrize(
    ("info", "module", "words"),
    [
        (NOPROC, "my_epmd", "its own epmd_module my_epmd"),
        (NOPROC, "erl_epmd", "registers at no epmd"),
        ((Atom("ok"), (Atom("r4"), [], -1)), "erl_epmd", "registers at no epmd"),
        (Atom("ok"), "my_epmd", "its own epmd_module my_epmd"),
    ],
)
def test_a_node_that_says_that_it_needs_no_epmd_is_not_registered(info: Term, module: str, words: str) -> None:
    lost = Lost()
    lost.info, lost.module = info, module
    outcome = lost.ensure(known=True)
    assert (outcome.failed, outcome.changed, lost.asked) == (False, False, [])
    assert ended(outcome)[0] == "not_applicable"
    assert words in outcome.nodes[0]["msg"]


def test_a_node_of_another_epmd_is_not_registered() -> None:
    lost = Lost()
    with mock.patch.object(erl_epmd, "epmd_port", return_value=4711):
        outcome = lost.ensure(known=True)
    assert (outcome.failed, lost.asked) == (True, [])
    assert outcome.msg.endswith(": give epmd_port=4711")


def test_check_mode_tells_the_same_and_asks_the_node_for_nothing() -> None:
    lost = Lost()
    outcome = lost.ensure(check_mode=True)
    assert ended(outcome) == ("missing", False, True, "would be registered")
    assert outcome.msg == "would register: vic@web1"
    assert outcome.diff["after"] == f"{outcome.diff['before']}name vic at port {lost.port}\n"
    assert (lost.asked, lost.names) == ([], {"other": 1})


def test_a_node_that_is_there_is_left_alone() -> None:
    lost = Lost()
    with FakeServer(node(rpc(lost._answer), NodePeer("vic@web1"))) as peer, FakeServer(
        epmd({"vic": peer.port})
    ) as daemon:
        options = Options(["vic"], port=peer.port, cookie=COOKIE, epmd_port=daemon.port, timeout=60)
        outcome = ensure(options, Mode.REPAIR)
    assert ended(outcome)[:3] == ("registered", True, False)
    assert outcome.msg == "1 registered; nothing to do"
    assert outcome.diff["before"] == outcome.diff["after"]
    assert lost.asked == []


def test_a_socket_to_an_epmd_that_is_gone_is_cut() -> None:
    lost = Lost(ALREADY, ALREADY, DONE, held=SOCKET)
    words = "registered, after its dead connection to an earlier epmd was cut"
    assert ended(lost.ensure(known=True)) == ("missing", True, True, words)
    assert lost.asked == ["register_node", "get_state", "register_node", "shutdown", "register_node"]


def test_behind_a_port_alone_nothing_is_cut() -> None:
    """It may lead to another host, whose node has a connection to an epmd of its own."""
    lost = Lost(ALREADY, held=SOCKET)
    again = "run without port, on its own host, as root"
    words = f"the node believes that it is registered, but epmd on port {{}} does not have its name: {again}"
    outcome = lost.ensure()
    assert ended(outcome) == ("missing", False, False, words.format(lost.epmd_port))
    assert lost.asked == ["register_node"]


def test_a_node_that_has_registered_itself_meanwhile_keeps_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was between two tries of its own; the name is in epmd's table by the time that this is looked at."""
    lost = Lost(ALREADY, held=SOCKET)
    real = lost._answer

    def answer(module: str, function: str, arguments: list[Any]) -> Term:
        if function == "get_state":
            lost.have("vic", lost.port)
        return real(module, function, arguments)

    monkeypatch.setattr(lost, "_answer", answer)
    assert ended(lost.ensure(known=True)) == ("missing", True, False, "registered by itself meanwhile")
    assert lost.asked == ["register_node", "get_state"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            (Atom("error"), Atom("duplicate_name")),
            "epmd on port {} gave the name vic to another process meanwhile: run again",
        ),
        ((Atom("error"), Atom("econnrefused")), "the node can't reach epmd on port {} at the loopback address"),
        (
            (Atom("badrpc"), (Atom("EXIT"), Atom("undef"))),
            "the node has no erl_epmd to register with (('badrpc', ('EXIT', 'undef'))): "
            "with its own epmd_module it needs no epmd",
        ),
        (
            (Atom("error"), Atom("etimedout")),
            "the node answered ('error', 'etimedout'), and epmd on port {} does not have its name: run again",
        ),
    ],
)
def test_why_a_node_is_not_registered_is_said(reply: Term, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erl_epmd, "FORGET_SECONDS", 0)
    lost = Lost(reply, reply)
    outcome = lost.ensure()
    words = words.format(lost.epmd_port)
    assert ended(outcome) == ("missing", False, False, words)
    assert outcome.failed
    assert outcome.msg == f"vic@web1: {words}"


def test_a_wrong_cookie_leaves_all_as_it_is() -> None:
    lost = Lost()
    outcome = lost.ensure(cookie="wrong")
    assert outcome.failed
    verdict, registered, changed, msg = ended(outcome)
    assert (verdict, registered, changed) == ("missing", False, False)
    assert msg == (
        f"it refused the cookie (at 127.0.0.1 port {lost.port}, with the cookie from the option cookie): "
        "give the node's own cookie or cookie_file"
    )
    assert (lost.asked, lost.names) == ([], {"other": 1})


@pytest.mark.parametrize("check_mode", [True, False])
def test_an_epmd_that_is_down_and_may_not_be_started(check_mode: bool) -> None:
    with FakeServer(epmd({})) as daemon:
        free = daemon.port
    with FakeServer(node(rpc(Lost()._answer), NodePeer("vic@web1"))) as peer:
        options = Options(["vic"], port=peer.port, cookie=COOKIE, epmd_port=free, start_epmd=False, timeout=60)
        outcome = ensure(options, Mode.PREDICT if check_mode else Mode.REPAIR)
    assert ended(outcome) == (
        "epmd_down",
        False,
        False,
        f"epmd is down on port {free}, and start_epmd=false: start it",
    )
    assert outcome.diff["after"] == "epmd: Cannot connect to local epmd\n"


class TestGivenUp:
    """What may be lost with a node's socket to epmd. The node `vic` listens on port 4711."""

    def given_up(
        self,
        held: tuple[str | None, int | None],
        names: dict[str, int],
        chooses: bool = False,
        seen: dict[str, int] | None = None,
    ) -> str | None:
        """seen: what epmd had before."""
        listener = Listener(3, "127.0.0.1", 4711)
        vm, daemon = vms.UNKNOWN._replace(pid=1), Daemon("127.0.0.1", 4369)
        table = Table(State.UP, seen or {})
        observation = Observation(vm, daemon, False, listener, name="vic@web1", table=table)
        at_port = holders.AtPort("nothing listens on it", is_another=2 not in held)
        asked = mock.patch.object(erl_epmd, "may_choose_its_name", return_value=chooses)
        with mock.patch.object(holders, "what_is_at", return_value=at_port), asked:
            return repair._given_up(
                records.Lost(observation, "vic", listener, ""),
                mock.sentinel.connection,
                erl_epmd.Held(Raw(b""), *held),
                Table(State.UP, names),
                Deadline(60),
            )

    @pytest.mark.parametrize(
        ("held", "names", "given_up"),
        [
            (("vic", 4711), {}, "after its dead connection to an earlier epmd was cut"),
            ((None, None), {"other": 1}, "after its dead connection to an earlier epmd was cut"),
            (("other", 1), {"other": 3}, "after its dead connection to an earlier epmd was cut"),
            (("vic", 1), {"vic": 1}, "in place of port 1, which the node itself had registered"),
            (("other", 4711), {"other": 4711}, "in place of the name other, which the node itself had registered"),
        ],
    )
    def test_what_serves_nobody_goes(
        self, held: tuple[str | None, int | None], names: dict[str, int], given_up: str
    ) -> None:
        assert self.given_up(held, names) == given_up

    @pytest.mark.parametrize(
        ("held", "names"),
        [
            (("vic", 4711), {"vic": 4711}),  # it has registered itself meanwhile
            (("vic", 4711), {"vic": 1}),  # somebody else holds its name, and its socket is dead
            (("vic", 2), {"vic": 1}),
            (("other", 4711), {"other": 4711, "vic": 1}),
        ],
    )
    def test_where_nothing_would_be_won_the_socket_stays(
        self, held: tuple[str | None, int | None], names: dict[str, int]
    ) -> None:
        assert self.given_up(held, names) is None

    @pytest.mark.parametrize("held", [("vic", 4711), (None, None)])
    def test_a_name_that_another_process_of_the_node_holds_is_said(self, held: tuple[str | None, int | None]) -> None:
        """That the node itself holds it was seen, but not in its erl_epmd."""
        refused = pytest.raises(NotRegistered, match="on a connection that is not that of its erl_epmd")
        with mock.patch.object(holders, "port_of_holder", return_value=50001), refused as caught:
            self.given_up(held, {"vic": 1}, seen={"vic": 1})
        assert str(caught.value).endswith(" inet:port(P) =:= {ok, 50001}].")

    @pytest.mark.parametrize(
        ("held", "names", "words"),
        [
            (("other", 1), {"other": 1}, "the node holds the name other with port 1, which may be in use; type in a"),
            (("vic", 2), {"vic": 2}, "the node itself has registered port 2; nothing listens on it; type in a shell"),
        ],
    )
    def test_what_may_be_in_use_stays_and_what_to_type_is_said(
        self, held: tuple[str | None, int | None], names: dict[str, int], words: str
    ) -> None:
        with pytest.raises(NotRegistered, match=words):
            self.given_up(held, names)

    @pytest.mark.parametrize("held", [("vic", 1), ("other", 4711)])
    def test_a_node_with_an_epmd_module_of_its_own_may_mean_it(self, held: tuple[str, int]) -> None:
        with pytest.raises(NotRegistered, match="; its own epmd_module or proto_dist may have chosen that; type in a "):
            self.given_up(held, dict([held]), chooses=True)
