# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that believes that it is registered, and is not, or wrongly: no release recovers by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, Register, life
from ansible_collections.beamops.epmd.tests.lab import (
    Epmd,
    FakeServer,
    Node,
    Otp,
    answer,
    cut_silently,
    forget,
    free_port,
    holders,
    misregister,
)

# How a node holds its socket to epmd, and what it does when that is lost, changed twice.
pytestmark = pytest.mark.every_release


@pytest.fixture(params=["inet", "socket"])
def backend(request: pytest.FixtureRequest) -> str:
    """What the sockets of the node are made by (inet_backend)."""
    return str(request.param)


@pytest.fixture
def backed(otp: Otp, epmd: Epmd, backend: str) -> Iterator[Node]:
    """A healthy node with this backend."""
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=["-kernel", "inet_backend", backend]) as running:
        yield running


def test_the_dead_connection_is_cut_and_the_node_registered(
    epmd: Epmd, backed: Node, register: Register, saw: Saw, otp: Otp, backend: str
) -> None:
    before, ports = life(backed), backed.eval("erlang:system_info(port_count)")
    with cut_silently(epmd, backed):
        believed = f"erl_epmd:register_node(vic, {backed.port})"
        assert backed.eval(believed) == "{error,already_registered}"
        assert epmd.names() == {}

        predicted = register("--check", name="vic")
        assert (predicted.changed, predicted.node["verdict"]) == (True, "missing")
        assert epmd.names() == {}

        done = register(name="vic")
        assert (done.changed, done.node["verdict"], done.node["registered"]) == (True, "missing", True)
        assert "its dead connection to an earlier epmd was cut" in done.node["msg"]
        assert epmd.names() == {"vic": backed.port}
        assert holders(epmd.port) == {backed.pid}
        assert not register(name="vic").changed
        assert life(backed) == before
        assert backed.eval("erlang:system_info(port_count)") == ports
        saw(f"silent cut, inet_backend {backend}", otp.release, f"{done.node['verdict']}, registered again")


def test_a_node_that_has_registered_a_wrong_port_registers_the_right_one(
    epmd: Epmd, backed: Node, register: Register, saw: Saw, otp: Otp, backend: str
) -> None:
    before, wrong = life(backed), free_port()
    misregister(epmd, backed, "vic", wrong)
    facts = register(module="epmd_facts").result["ansible_facts"]["epmd"]["nodes"]
    assert [(found["verdict"], found["registered"]) for found in facts] == [("conflict", False)]
    assert f"its holder is the node itself; nothing listens on port {wrong}" in facts[0]["msg"]

    instead = f"in place of port {wrong}, which the node itself had registered"
    predicted = register("--check", name="vic")
    assert (predicted.changed, predicted.node["verdict"]) == (True, "conflict")
    assert predicted.node["msg"] == f"would be registered, {instead}"
    assert epmd.names() == {"vic": wrong}

    done = register(name="vic")
    assert (done.changed, done.node["verdict"], done.node["registered"]) == (True, "conflict", True)
    assert done.node["msg"] == f"registered, {instead}"
    assert epmd.names() == {"vic": backed.port}
    assert holders(epmd.port) == {backed.pid}
    assert not register(name="vic").changed
    # What it registers again by itself, too.
    assert backed.eval("gen_server:call(erl_epmd, client_info_req)") == f'{{ok,{{r4,"vic",{backed.port}}}}}'
    assert life(backed) == before
    saw(
        f"its own name registered with a wrong port, inet_backend {backend}",
        otp.release,
        "conflict, registered again",
    )


def test_a_wrong_port_that_is_surely_of_another_is_withdrawn(
    otp: Otp, epmd: Epmd, node: Node, register: Register
) -> None:
    with otp.node("other", epmd_port=epmd.port, cookie=COOKIE) as other:
        for wrong in (epmd.port, other.port):
            misregister(epmd, node, "vic", wrong)
            done = register(name="vic")
            assert (done.changed, done.node["registered"]) == (True, True), done.msg
            assert epmd.names()["vic"] == node.port
        assert other.log == ""


IN_BETWEEN = """spawn_opt(fun() ->
    Await = fun Await(Condition) -> Condition() orelse receive after 1 -> Await(Condition) end end,
    Await(fun() -> element(2, sys:get_state(erl_epmd)) =:= -1 end),
    Await(fun() -> erl_epmd:port_please("vic", {127, 0, 0, 1}) =:= noport end),
    erl_epmd ! reconnect
end, [{priority, max}])"""


@pytest.mark.since(25)
def test_a_wrong_port_that_the_node_registers_again_in_between_is_withdrawn_too(
    epmd: Epmd, node: Node, register: Register
) -> None:
    """The node tries again 2 s after it lost a connection, also if somebody had it register meanwhile."""
    misregister(epmd, node, "vic", epmd.port)
    node.eval(IN_BETWEEN)
    done = register(name="vic")
    assert (done.changed, done.node["registered"]) == (True, True), done.msg
    assert epmd.names() == {"vic": node.port}


def test_a_wrong_port_where_something_listens_is_left_with_what_to_type(
    epmd: Epmd, node: Node, register: Register
) -> None:
    """It may pass on to the node what it gets."""
    before = life(node)
    with FakeServer(answer(b"")) as service:
        misregister(epmd, node, "vic", service.port)
        for flags in (["--check"], []):
            done = register(*flags, name="vic")
            assert (done.failed, done.changed, done.node["verdict"]) == (True, False, "conflict")
            assert f"its holder is the node itself; port {service.port} belongs to pid" in done.msg
            assert epmd.names() == {"vic": service.port}
        assert service.accepted == 0
    node.eval(typed(done.msg))
    assert epmd.names() == {"vic": node.port}
    assert not register(name="vic").changed
    assert life(node) == before


def typed(msg: str) -> str:
    """What a message says to type in a node."""
    found = re.search(r"; type in a shell of the node, [^:]*: (.*\.)$", msg)
    assert found, msg
    return found[1]


def test_of_a_node_given_by_its_port_is_said_that_it_holds_its_name_itself(
    epmd: Epmd, node: Node, register: Register
) -> None:
    misregister(epmd, node, "vic", 1234)
    done = register(name="vic", port=node.port, cookie=COOKIE, epmd_port=epmd.port)
    assert (done.failed, done.changed, done.node["verdict"]) == (True, False, "conflict")
    assert "its holder is the node itself" in done.msg
    assert epmd.names() == {"vic": 1234}
    node.eval(typed(done.msg))
    assert epmd.names() == {"vic": node.port}


def test_a_node_that_has_registered_a_wrong_name(
    otp: Otp, epmd: Epmd, node: Node, register: Register, saw: Saw
) -> None:
    before = life(node)
    misregister(epmd, node, "typo", node.port)
    done = register(name="vic")
    assert (done.node["verdict"], done.node["registered"]) == ("missing", True), done.msg
    assert done.node["msg"] == "registered, in place of the name typo, which the node itself had registered"
    assert epmd.names() == {"vic": node.port}
    assert life(node) == before
    saw("another name registered with its own port", otp.release, "missing, registered again")


def test_a_name_that_a_node_holds_for_another_node_is_left_with_what_to_type(
    otp: Otp, epmd: Epmd, node: Node, register: Register
) -> None:
    with otp.node("other", epmd_port=epmd.port, cookie=COOKIE) as other:
        other.suspend()  # a newer one would be faster
        misregister(epmd, node, "other", other.port)
        other.resume()
        done = register(name="vic")
        assert (done.failed, done.changed, done.node["verdict"]) == (True, False, "missing")
        assert f"holds the name other with port {other.port}" in done.msg
        assert epmd.names() == {"other": other.port}
        assert f"its holder is pid {node.pid} " in " ".join(found["msg"] for found in register().result["nodes"])
        node.eval(typed(done.msg))
        assert not register().failed
        assert epmd.names() == {"vic": node.port, "other": other.port}


def test_a_node_whose_name_another_node_holds_comes_back_after_that_one(
    otp: Otp, epmd: Epmd, node: Node, register: Register
) -> None:
    with otp.node("other", epmd_port=epmd.port, cookie=COOKIE) as other:
        other.suspend()  # a newer one would be faster
        misregister(epmd, node, "other", node.port)
        other.resume()
        first = register()
        assert (first.failed, first.changed) == (True, True)
        assert f"other@{node.name.partition('@')[2]} (pid {other.pid}): epmd has the name other with port" in first.msg
        assert f"where a node answers that calls itself {node.name}" in first.msg
        assert not register().failed
        assert epmd.names() == {"vic": node.port, "other": other.port}


# ALIVE2_REQ of `vic` with port 1234, from a shell of the node.
_ANOTHER_CONNECTION = """
{{ok, Epmd}} = gen_tcp:connect("127.0.0.1", {port}, [binary, {{active, false}}]),
ok = gen_tcp:send(Epmd, <<16:16, 120, 1234:16, 77, 0, 6:16, 5:16, 3:16, "vic", 0:16>>),
{{ok, <<_, 0, _/binary>>}} = gen_tcp:recv(Epmd, 0)
"""


def test_a_name_that_another_process_of_the_node_holds_is_said(epmd: Epmd, node: Node, register: Register) -> None:
    before = life(node)
    forget(epmd, node)
    epmd.start()
    node.eval(_ANOTHER_CONNECTION.format(port=epmd.port))
    assert epmd.names() == {"vic": 1234}
    done = register(name="vic")
    assert (done.failed, done.changed, done.node["verdict"]) == (True, False, "conflict")
    assert "the node itself holds its name with port 1234, on a connection that is not that of its erl_epmd" in done.msg
    node.eval(typed(done.msg))
    assert not register(name="vic").failed
    assert epmd.names() == {"vic": node.port}
    assert life(node) == before
