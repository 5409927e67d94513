# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen of a node, and said of it: the node is this very process, or a child that has its listener too."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable
from unittest import mock

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._errors import NotPermitted, TimedOut
from ansible_collections.beamops.epmd.plugins.module_utils._host import command_line, owners, processes, searches, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Sockets, Sought
from ansible_collections.beamops.epmd.plugins.module_utils._host.vms import Vm
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import distribution_port, holders
from ansible_collections.beamops.epmd.plugins.module_utils._steps.report import Outcome
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd as codec
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom
from ansible_collections.beamops.epmd.plugins.module_utils._wire.node import NodeConnection
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, NodePeer, answer, epmd, hang, node, rpc, say

SAID = ["-sname", "vic", "-setcookie", "MonsterCookie"]
WEB = say(b"HTTP/1.1 400 Bad Request\r\n")
US = f"pid {os.getpid()} of user "
Runs = Callable[..., Vm]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Have an Erlang VM run, with these flags and variables; it is this process."""
    found: list[Vm] = []
    monkeypatch.setattr(vms, "find", lambda: found)

    def run(*flags: str, pid: int = os.getpid(), **environment: str) -> Vm:
        said = command_line.parse(["beam.smp", "--", *flags], environment)
        found.append(Vm(pid, os.geteuid(), "vic", None, said))
        return found[-1]

    return run


def vic() -> NodePeer:
    return NodePeer("vic@web1")


def see_to(default: int, *names: str, check_mode: bool = False, **options: Any) -> Outcome:
    """The whole way, for nodes that use the epmd that is the default."""
    with mock.patch.object(codec, "DEFAULT_PORT", default):
        return ensure(Options(list(names), timeout=60, **options), Mode.PREDICT if check_mode else Mode.REPAIR)


def check(default: int, *names: str, **options: Any) -> Outcome:
    return see_to(default, *names, check_mode=True, **options)


def verdict(outcome: Outcome) -> tuple[str, str]:
    (found,) = outcome.nodes
    return found["verdict"], found["msg"]


def check_stranger(outcome: Outcome, port: int) -> None:
    """The epmd of these tests is none, and that is told."""
    (warning,) = outcome.warnings
    assert warning.startswith(f"port {port} belongs to pid {os.getpid()} of user {vms.user_name(os.geteuid())}")
    assert warning.endswith(
        ", at 127.0.0.1, which answers as an epmd but is not one: the names of the nodes are in its table"
    )
    (daemon,) = outcome.daemons
    assert (daemon["pid"], warning.startswith(daemon["msg"])) == (None, True)


def test_a_name_on_the_nodes_own_connection_is_registered(runs: Runs) -> None:
    runs(*SAID)
    names: dict[str, int] = {}
    with FakeServer(node(hang, vic())) as peer, FakeServer(epmd(names)) as daemon:
        names["vic"] = peer.port
        with socket.create_connection(("127.0.0.1", daemon.port)):
            outcome = check(daemon.port)
    assert verdict(outcome) == ("registered", f"epmd has the name vic with port {peer.port}")
    assert (outcome.changed, outcome.failed) == (False, False)
    check_stranger(outcome, daemon.port)
    (found,) = outcome.nodes
    assert (found["name"], found["pid"], found["address"]) == ("vic@web1", os.getpid(), "127.0.0.1")


def test_a_name_that_no_connection_of_the_node_holds_is_borrowed(runs: Runs) -> None:
    runs(*SAID)
    names: dict[str, int] = {}
    with FakeServer(node(hang, vic())) as peer, FakeServer(epmd(names)) as daemon:
        names["vic"] = peer.port
        outcome = check(daemon.port)
    assert verdict(outcome)[0] == "borrowed"
    assert outcome.nodes[0]["registered"]
    warning, _stranger = outcome.warnings
    assert warning.startswith(f"vic@web1 (pid {os.getpid()}): epmd has the name vic, but not from the node itself")
    assert "; its holder " in warning


@pytest.mark.parametrize(("holder", "expected"), [("own", "registered"), ("nobody", "registered"), ("1", "borrowed")])
def test_where_a_node_has_one_of_many_connections_epmd_says_whose_the_name_is(
    runs: Runs, holder: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(*SAID)
    names = {"other": 1, "another": 2}
    with FakeServer(node(hang, vic())) as peer, FakeServer(epmd(names)) as daemon:
        names["vic"] = peer.port
        with socket.create_connection(("127.0.0.1", daemon.port)) as own:
            ports = {"own": own.getsockname()[1], "nobody": None}
            monkeypatch.setattr(holders, "port_of_holder", lambda *_given: ports.get(holder, 1))
            outcome = check(daemon.port)
    assert verdict(outcome)[0] == expected


TWO_CLIENTS = """
import socket, sys
held = [socket.create_connection((address, int(sys.argv[1]))) for address in ("127.0.0.1", "::1")]
print(held[0].getsockname()[1], flush=True)
input()
"""


def test_a_connection_of_either_family_counts_for_whose_a_name_is(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node has one that holds no name; of the two others, one is over IPv6."""
    runs(*SAID)
    names = {"six": 1}
    with FakeServer(node(hang, vic())) as peer, FakeServer(epmd(names)) as daemon:
        names["vic"] = peer.port
        with FakeServer(epmd(names), daemon.port, "::1"), socket.create_connection(("127.0.0.1", daemon.port)):
            command = [sys.executable, "-c", TWO_CLIENTS, str(daemon.port)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
                assert other.stdout
                holder = int(other.stdout.readline())
                monkeypatch.setattr(holders, "port_of_holder", lambda *_given: holder)
                outcome = check(daemon.port)
                other.kill()
    assert verdict(outcome)[0] == "borrowed"


@contextmanager
def child_with(server: FakeServer) -> Iterator[int]:
    """The pid of a process that has this listener too, and nothing of what comes in there."""
    with subprocess.Popen(["sleep", "3600"], pass_fds=[server._listener.fileno()]) as child:
        try:
            yield child.pid
        finally:
            child.kill()


def test_a_node_uses_its_own_epmd_whatever_else_is_asked_for(runs: Runs) -> None:
    runs(*SAID)
    with FakeServer(node(hang, vic())), FakeServer(epmd({})) as daemon, FakeServer(epmd({})) as other:
        outcome = check(daemon.port, epmd_port=other.port)
    assert outcome.failed
    words = f"epmd has no name vic (on port {daemon.port}); the node uses no other, so leave out epmd_port={other.port}"
    assert verdict(outcome) == ("missing", words)
    assert other.accepted == 0


def test_who_holds_a_borrowed_name_is_said(runs: Runs) -> None:
    names: dict[str, int] = {}
    with FakeServer(node(hang, vic())) as peer, FakeServer(epmd(names)) as daemon, child_with(peer) as child:
        runs(*SAID, pid=child)
        names["vic"] = peer.port
        with socket.create_connection(("127.0.0.1", daemon.port)):
            kind, msg = verdict(check(daemon.port))
    assert kind == "borrowed"
    assert f"; its holder is one of {US}" in msg


def test_who_is_in_the_way_is_said(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "listening_emulator", lambda _port: "/usr/lib/erlang/erts/bin/beam.smp")
    names = {"vic": 1}
    with FakeServer(node(hang, vic())) as peer, FakeServer(epmd(names)) as daemon, child_with(peer) as child:
        runs(*SAID, pid=child)
        with FakeServer(node(hang, NodePeer("thief@web1"))) as thief:
            names["vic"] = thief.port
            with socket.create_connection(("127.0.0.1", daemon.port)):
                outcome = check(daemon.port)
    kind, msg = verdict(outcome)
    assert kind == "conflict"
    assert outcome.failed
    assert msg.startswith(f"epmd has the name vic with port {thief.port}, but the node listens on port {peer.port}; ")
    assert f"; its holder is one of {US}" in msg
    assert f"; port {thief.port} belongs to {US}" in msg
    assert msg.endswith(", where a node answers that calls itself thief@web1")


def test_a_process_other_than_the_nodes_gets_no_digest(runs: Runs) -> None:
    """A child of the node may have its listener; a digest is enough to guess a cookie from."""
    digests: list[bytes] = []

    class Curious(NodePeer):
        def on_reply(self, packet: bytes) -> bytes:
            digests.append(packet)
            return super().on_reply(packet)

    with FakeServer(node(hang, Curious("vic@web1"))) as peer, FakeServer(epmd({})) as daemon, child_with(peer) as child:
        runs(*SAID, pid=child)
        outcome = see_to(daemon.port)
    assert outcome.failed
    where = f"127.0.0.1 port {peer.port} is answered by another process than the node's"
    assert verdict(outcome) == ("missing", f"{where}, so the cookie was not used: run again")
    assert digests == []


def test_the_process_of_the_node_gets_it_and_registers(runs: Runs) -> None:
    runs(*SAID)
    names: dict[str, int] = {}
    held: list[socket.socket] = []

    def register(_module: str, function: str, arguments: list[Any]) -> Any:
        if function != "register_node":
            return Atom("erl_epmd")
        names["vic"] = arguments[1]
        held.append(socket.create_connection(("127.0.0.1", daemon.port)))
        return (Atom("ok"), 1)

    with FakeServer(node(rpc(register), vic())) as peer, FakeServer(epmd(names)) as daemon:
        outcome = see_to(daemon.port)
        held.pop().close()
    assert (outcome.failed, outcome.changed, outcome.msg) == (False, True, "registered: vic@web1")
    assert names == {"vic": peer.port}


@pytest.mark.parametrize(
    "flags",
    [
        ["-epmd_module", "my_epmd"],
        ["-proto_dist", "my"],
        ["-dist_listen", "false"],
        ["-erl_epmd_port", "4711", "-start_epmd", "false"],
        ["-kernel", "inet_dist_listen_min", "1"],
    ],
)
def test_a_name_that_epmd_has_is_registered_whatever_flags_say(runs: Runs, flags: list[str]) -> None:
    runs(*SAID, *flags)
    names: dict[str, int] = {}
    with FakeServer(hang) as other, FakeServer(node(hang, vic())) as peer, FakeServer(epmd(names)) as daemon:
        names["vic"] = peer.port
        with socket.create_connection(("127.0.0.1", daemon.port)):
            assert verdict(check(daemon.port))[0] == "registered"
    assert (other.accepted, peer.accepted) == (0, 1)


@pytest.mark.parametrize(
    ("info", "cookie", "expected"),
    [
        ((Atom("ok"), (Atom("r4"), Atom("vic"), 1)), "MonsterCookie", "missing"),
        ((Atom("ok"), (Atom("r4"), [], -1)), "MonsterCookie", "not_applicable"),
        (Atom("ok"), "wrong", "unidentified"),
    ],
)
@pytest.mark.parametrize("mode", list(Mode))
def test_a_node_that_may_need_no_epmd_is_asked(runs: Runs, info: Any, cookie: str, expected: str, mode: Mode) -> None:
    """In every mode the same, and never on more than two connections."""
    runs("-sname", "vic", "-setcookie", cookie, "-proto_dist", "my")
    with FakeServer(node(rpc(lambda *_call: info), vic())) as peer, FakeServer(epmd({})) as daemon, mock.patch.object(
        codec, "DEFAULT_PORT", daemon.port
    ):
        outcome = ensure(Options([], timeout=60), mode)
    assert verdict(outcome)[0] == expected
    assert peer.accepted == 2
    assert any("can't be asked" in warning for warning in outcome.warnings) == (expected == "unidentified")


def test_a_node_that_needs_no_epmd_is_none_of_ours_while_there_is_none(runs: Runs) -> None:
    with FakeServer(hang) as daemon:
        free = daemon.port
    runs(*SAID, "-erl_epmd_port", "4711")
    with FakeServer(node(hang, vic())):
        outcome = check(free)
    assert verdict(outcome) == (
        "not_applicable",
        "it runs with -erl_epmd_port 4711, and there is no epmd: it needs none",
    )
    assert outcome.daemons == []


def test_other_services_are_not_asked(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(*SAID)
    with FakeServer(hang) as service, FakeServer(epmd({})) as daemon:
        services = {service.port, daemon.port}
        monkeypatch.setattr(distribution_port, "KNOWN_SERVICES", distribution_port.KNOWN_SERVICES | services)
        kind, msg = verdict(check(daemon.port))
        assert service.accepted == 0
    assert kind == "unidentified"
    assert msg.startswith("it listens only on ports that other services use (port ")
    assert str(service.port) in msg


def test_one_service_after_the_other_is_asked_until_a_node_answers(runs: Runs) -> None:
    runs(*SAID)
    servers = [FakeServer(handler) for handler in (lambda _connection: None, WEB, node(hang, vic()))]
    with servers[0] as closing, servers[1] as web, servers[2] as peer, FakeServer(epmd({})) as daemon:
        (found,) = check(daemon.port).nodes
    assert (found["name"], found["port"], found["verdict"]) == ("vic@web1", peer.port, "missing")
    # Nodes before OTP 23 hang up on the new handshake, so who hangs up is asked twice.
    assert (closing.accepted, web.accepted, daemon.accepted) == (2, 1, 2)


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for each node is over before it answers, however fast this machine is."""

    def wait(*_given: Any) -> None:
        raise TimedOut("no answer within 10 s")

    monkeypatch.setattr(NodeConnection, "open", wait)


@pytest.mark.usefixtures("silence")
def test_a_node_that_hangs_is_not_repaired_and_says_why(runs: Runs) -> None:
    runs(*SAID)
    with FakeServer(hang) as peer, FakeServer(epmd({})) as daemon:
        outcome = check(daemon.port)
    kind, msg = verdict(outcome)
    assert (kind, outcome.failed) == ("missing", True)
    assert msg.startswith(f"epmd has no name vic, but the node does not answer: 127.0.0.1 port {peer.port}: no answer")


def test_a_node_that_refuses_us_says_why(runs: Runs) -> None:
    runs(*SAID)
    with FakeServer(say(b"\0\x0csnot_allowed")) as peer, FakeServer(epmd({})) as daemon:
        kind, msg = verdict(check(daemon.port))
    assert kind == "missing"
    assert f"the node does not answer: 127.0.0.1 port {peer.port}: " in msg
    assert "it does not allow us to connect" in msg


@pytest.mark.usefixtures("silence")
@pytest.mark.parametrize(("names", "failed"), [([], False), (["vic"], True)])
def test_a_vm_without_a_name_that_hangs_may_be_the_one_that_was_asked_for(
    runs: Runs, names: list[str], failed: bool
) -> None:
    runs("-setcookie", "MonsterCookie")
    with FakeServer(hang), FakeServer(epmd({})) as daemon:
        outcome = check(daemon.port, *names)
    assert verdict(outcome)[0] == "unidentified"
    assert outcome.failed == failed
    said = outcome.msg if failed else " ".join(outcome.warnings)
    assert f"an Erlang VM (pid {os.getpid()}): no node answers, 127.0.0.1 port" in said
    assert ("vic: no such node runs here" in outcome.msg) == failed


def test_a_vm_without_a_name_that_is_no_node_is_none_of_ours(runs: Runs) -> None:
    runs()
    with FakeServer(WEB), FakeServer(epmd({})) as daemon:
        kind, msg = verdict(check(daemon.port))
    assert kind == "not_applicable"
    assert msg.startswith("it was started without a name, and is no node now (127.0.0.1 port ")


def test_a_node_that_can_not_be_looked_at_is_told(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = runs(*SAID)

    def refuse(*_given: Any) -> None:
        raise processes.not_permitted(vm)

    monkeypatch.setattr(owners, "sockets_of", refuse)
    outcome = check(1)
    assert verdict(outcome)[0] == "unidentified"
    assert (outcome.failed, outcome.daemons) == (True, [])
    assert outcome.msg == f"vic (pid {vm.pid}): {NotPermitted(processes.not_permitted(vm))}"


def test_a_node_that_speaks_tls_needs_files_that_can_be_used(runs: Runs) -> None:
    runs(*SAID, "-proto_dist", "inet_tls", "-ssl_dist_optfile", "/no/such/file")
    with FakeServer(hang) as peer, FakeServer(epmd({})) as daemon:
        outcome = check(daemon.port)
        assert peer.accepted == 0
    assert outcome.nodes[0]["tls"]
    assert verdict(outcome)[1].endswith("/no/such/file can't be read (No such file or directory): give tls_certfile")


def test_a_node_of_tls_that_speaks_none_fails(runs: Runs) -> None:
    runs(*SAID, "-proto_dist", "inet_tls")
    with FakeServer(WEB) as first, FakeServer(WEB) as second, FakeServer(epmd({})) as daemon:
        kind, msg = verdict(check(daemon.port))
    assert kind == "missing"
    assert f"127.0.0.1 port {first.port}: it does not speak TLS" in msg
    assert (first.accepted, second.accepted) == (1, 1)


def test_a_port_that_is_given_is_the_only_one_that_is_asked(runs: Runs) -> None:
    runs(*SAID)
    with FakeServer(hang) as service, FakeServer(node(hang, vic())) as peer, FakeServer(epmd({})) as daemon:
        outcome = check(daemon.port, "vic", port=peer.port)
    assert verdict(outcome) == ("missing", "would be registered")
    assert (service.accepted, peer.accepted) == (0, 1)


def test_a_port_that_no_vm_listens_on_belongs_to_none(runs: Runs) -> None:
    runs(*SAID)
    with FakeServer(hang) as daemon:
        free = daemon.port
    outcome = check(1, "vic", port=free)
    assert (outcome.failed, outcome.nodes) == (True, [])
    assert outcome.msg == f"vic: port {free} does not belong to it; no Erlang node is running"


class TestHidden:
    """A port is given, and no cookie; this user may not see the sockets of the VMs of another one."""

    @pytest.fixture
    def theirs(self, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Vm:
        """Such a VM, which comes first."""
        vm = runs("-sname", "evil\u202e", pid=os.getppid())._replace(uid=os.geteuid() + 1, user="them")
        vms.find()[0] = vm
        real = owners.sockets_of

        def hide(seen: Vm, epmd_port: int, sought: Sought, earlier: owners.Listing | None = None) -> Sockets:
            if seen.uid == vm.uid:
                raise processes.not_permitted(seen)
            return real(seen, epmd_port, sought, earlier)

        monkeypatch.setattr(owners, "sockets_of", hide)
        return vm

    @pytest.mark.usefixtures("theirs")
    def test_the_node_that_has_the_port_is_looked_after(self, runs: Runs) -> None:
        runs(*SAID)
        with FakeServer(node(hang, vic())) as peer, FakeServer(epmd({})) as daemon:
            outcome = check(daemon.port, "vic", port=peer.port)
        assert verdict(outcome) == ("missing", "would be registered")

    @pytest.mark.usefixtures("theirs")
    def test_a_port_of_somebody_else_or_of_nobody_is_not_theirs(self) -> None:
        with FakeServer(hang) as service:
            outcome = check(1, "vic", port=service.port)
            assert outcome.msg == f"vic: port {service.port} does not belong to it; no Erlang node is running"
        outcome = check(1, "vic", port=service.port)
        assert outcome.msg == f"vic: port {service.port} does not belong to it; no Erlang node is running"

    @pytest.mark.parametrize("known", [True, False])
    def test_a_port_that_may_be_theirs_is_said_in_one_legible_sentence(
        self, theirs: Vm, known: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whose a port is, psutil can't tell."""
        monkeypatch.setattr(searches, "listening_uid", lambda _port: theirs.uid if known else None)
        with FakeServer(hang) as service, pytest.raises(NotPermitted) as caught:
            check(1, "vic", port=service.port)
        assert str(caught.value).startswith(f"the node evil? with pid {theirs.pid} belongs to them, and ")


@pytest.mark.parametrize("flags", [SAID, ["-sname", "other", *SAID[2:]], SAID[2:]])
def test_a_node_that_nobody_asked_for_is_only_listed(runs: Runs, flags: list[str]) -> None:
    """Its command line alone may tell, or only its challenge."""
    runs(*flags)
    answers = NodePeer("other@web1")
    with FakeServer(node(hang, answers)) as peer, FakeServer(epmd({})) as daemon:
        outcome = check(daemon.port, "vic")
    name = "other" if "other" in flags else "other@web1"
    assert (outcome.failed, outcome.nodes) == (True, [])
    assert outcome.msg == f"vic: no such node runs here; running: {name}; {holders.FORGOTTEN}"
    assert peer.accepted == (name == "other@web1")


def test_whose_an_epmd_is_that_gives_no_table_is_said(runs: Runs) -> None:
    runs(*SAID)
    with FakeServer(node(hang, vic())), FakeServer(answer(b"x")) as daemon:
        outcome = check(daemon.port)
    kind, msg = verdict(outcome)
    assert (kind, outcome.failed) == ("epmd_unresponsive", True)
    assert msg.startswith("epmd gives no table: its table is cut off: 4 bytes expected at offset 0, 1 left")
    assert f"; port {daemon.port} belongs to {US}" in msg


class TestFacts:
    """The same, with what is known of the epmds."""

    @pytest.fixture(autouse=True)
    def daemon(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeServer, dict[str, int]]]:
        """An epmd on the port that nodes use who say nothing else, and its table."""
        names: dict[str, int] = {}
        with FakeServer(epmd(names)) as server:
            monkeypatch.setattr(codec, "DEFAULT_PORT", server.port)
            yield server, names

    @pytest.mark.usefixtures("runs")
    def test_an_epmd_is_told_also_where_no_node_runs(self, daemon: tuple[FakeServer, dict[str, int]]) -> None:
        server, names = daemon
        names["squatter"] = 1
        outcome = ensure(Options([], timeout=60), Mode.DIAGNOSE)
        assert (outcome.failed, outcome.nodes) == (False, [])
        assert outcome.msg.startswith("no Erlang node runs here")
        (found,) = outcome.daemons
        assert (found["port"], found["addresses"], found["names"]) == (server.port, ["127.0.0.1"], {"squatter": 1})
        assert found["foreign"] == [{"name": "squatter", "port": 1, "pid": None, "user": None}]

    def test_a_lost_node_is_only_told(self, runs: Runs, daemon: tuple[FakeServer, dict[str, int]]) -> None:
        runs(*SAID)
        server, names = daemon
        names["other"] = 1
        with FakeServer(node(hang, vic())):
            outcome = ensure(Options([], timeout=60), Mode.DIAGNOSE)
        assert verdict(outcome) == ("missing", "epmd has no name vic")
        assert (outcome.failed, outcome.changed) == (False, False)
        assert outcome.msg == "1 missing; nothing to do"
        assert [found["port"] for found in outcome.daemons] == [server.port]
        assert names == {"other": 1}


def test_several_nodes_are_told_in_their_order(runs: Runs) -> None:
    """Each is foretold, and so are both lines in the table that they share."""
    nodes = [FakeServer(node(hang, NodePeer(f"{name}@web1"))) for name in ("vic", "wim")]
    with nodes[0] as one, nodes[1] as two, child_with(one) as first, child_with(two) as second:
        runs(*SAID, pid=first)
        runs("-sname", "wim", *SAID[2:], pid=second)
        with FakeServer(epmd({})) as daemon:
            outcome = check(daemon.port)
    assert [found["name"] for found in outcome.nodes] == ["vic@web1", "wim@web1"]
    assert outcome.msg == "would register: vic@web1, wim@web1"
    assert outcome.diff["after"].endswith(f"name vic at port {one.port}\nname wim at port {two.port}\n")
