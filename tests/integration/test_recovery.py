# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lost node is registered again, by its own connection to epmd, and nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._wire.node import NodeConnection
from ansible_collections.beamops.epmd.tests.integration.soak import soak
from ansible_collections.beamops.epmd.tests.integration.support import (
    COOKIE,
    NO_PSUTIL,
    NO_SOCK_DIAG,
    AdHoc,
    Register,
    life,
    lose,
    python_with,
    squatted,
    uptime,
)
from ansible_collections.beamops.epmd.tests.lab import (
    Epmd,
    Node,
    Otp,
    client_pings,
    forget,
    holders,
    listeners,
    wait_until,
)


@pytest.mark.one_release
def test_a_lost_node_is_registered_again(otp: Otp, epmd: Epmd, node: Node, ad_hoc: AdHoc) -> None:
    before, started = life(node), uptime(node)
    lose(epmd, node)
    assert client_pings(otp, node) == "pang"
    verdict = "missing" if otp.release == 23 else "epmd_down"

    predicted = ad_hoc("--check", "--diff", name="vic")
    assert (predicted.changed, predicted.node["verdict"]) == (True, verdict)
    assert not predicted.node["registered"]
    assert f"+name vic at port {node.port}" in predicted.output
    assert listeners(epmd.port) == ({epmd.pid} if otp.release == 23 else set())
    assert node.pid not in holders(epmd.port)

    done = ad_hoc("--diff", name="vic")
    assert (done.changed, done.node["verdict"], done.node["registered"]) == (True, verdict, True)
    assert done.node["name"] == node.name
    assert (done.node["pid"], done.node["port"]) == (node.pid, node.port)
    assert f"+name vic at port {node.port}" in done.output
    assert epmd.names() == {"vic": node.port}
    assert f"name vic at port {node.port}\n" in epmd.names_output()
    assert holders(epmd.port) == {node.pid}
    (daemon,) = done.result["daemons"]
    assert daemon["port"] == epmd.port
    assert daemon["started"] == (otp.release != 23)
    assert {daemon["pid"]} == listeners(epmd.port)
    assert (daemon["state"], daemon["names"], daemon["msg"]) == ("up", {"vic": node.port}, "")
    assert life(node) == before
    assert uptime(node) > started

    again = ad_hoc("--diff", name="vic")
    assert (again.changed, again.node["verdict"]) == (False, "registered")
    assert "+name" not in again.output
    assert client_pings(otp, node) == "pong"


def test_a_healthy_node_is_left_alone(epmd: Epmd, node: Node, register: Register) -> None:
    before, connection = life(node), holders(epmd.port)
    done = register(name=node.name)
    assert not done.changed
    assert done.node["verdict"] == "registered"
    assert life(node) == before
    assert holders(epmd.port) == connection == {node.pid}


@pytest.mark.every_release
def test_without_options_every_node_is_recovered(otp: Otp, epmd: Epmd, register: Register) -> None:
    with (
        otp.node("one", epmd_port=epmd.port, cookie=COOKIE) as one,
        otp.node("two", epmd_port=epmd.port, cookie="another-one", set_cookie_arg=False) as two,
    ):
        lose(epmd, one)
        wait_until(lambda: not holders(epmd.port), "both to lose their connection")
        done = register()
        assert done.changed, done.output
        assert {found["name"] for found in done.result["nodes"]} == {one.name, two.name}
        assert epmd.names() == {"one": one.port, "two": two.port}
        assert holders(epmd.port) == {one.pid, two.pid}
        assert not register().changed


# What net_kernel has told the process, in its order.
TOLD = """
    [{What, proplists:get_value(node_type, Info)}
        || {What, _Node, Info} <- element(2, process_info(self(), messages)), lists:member(What, [nodeup, nodedown])]
"""


def test_a_node_sees_two_short_hidden_connections_at_most(epmd: Epmd, node: Node, register: Register) -> None:
    """Of which one ends at the challenge: the node counts what it accepts, and which of that becomes a connection."""
    accept = "{inet_tcp_dist, accept_connection, 5}"
    node.eval(f"1 = erlang:trace_pattern({accept}, true, [local, call_count])")
    node.eval("ok = net_kernel:monitor_nodes(true, [{node_type, all}])")

    def accepted() -> int:
        return int(node.eval(f"element(2, erlang:trace_info({accept}, call_count))"))

    assert not register(name="vic").changed
    assert accepted() == 1
    lose(epmd, node)
    assert register(name="vic").changed
    wait_until(lambda: node.eval(f"length({TOLD})") == "2", "the node to see the connection end")
    assert node.eval(TOLD) == "[{nodeup,hidden},{nodedown,hidden}]"
    assert accepted() == 3


RUNS = int(os.environ.get("BEAMOPS_RUNS", "150"))
"""How many runs have to leave no trace; `make test-all` does 1,000, and `make soak` 20,000."""


def test_many_runs_leave_no_trace(otp: Otp) -> None:
    with soak(otp) as found:
        found.run(RUNS, lives=1)
    assert found.wrong == []


def test_consecutive_connections_are_lent_one_name(node: Node) -> None:
    known = int(node.eval("length(nodes(known))"))
    for number in range(300):
        connection = NodeConnection.open("127.0.0.1", node.port, Deadline(10), Deadline(10))
        if number % 2:
            connection.authenticate(COOKIE.encode())
        connection.close()
    # One more; on a loaded machine the node may sometimes see the next connection before the end of the last.
    assert int(node.eval("length(nodes(known))")) <= known + 4
    assert node.log == ""


@pytest.mark.one_release
def test_psutil_is_not_needed(epmd: Epmd, node: Node, register: Register, tmp_path: Path) -> None:
    lose(epmd, node)
    done = register(environment=python_with(tmp_path, NO_PSUTIL), name="vic")
    assert done.changed, done.output
    assert done.node["pid"] == node.pid
    assert epmd.names() == {"vic": node.port}
    assert holders(epmd.port) == {node.pid}


@pytest.mark.one_release
def test_psutil_is_needed_where_the_kernel_lists_no_sockets(
    epmd: Epmd, node: Node, register: Register, tmp_path: Path
) -> None:
    lose(epmd, node)
    before = life(node), listeners(epmd.port)
    for module in ("epmd_register", "epmd_facts"):
        neither = register(module=module, environment=python_with(tmp_path, NO_PSUTIL, NO_SOCK_DIAG))
        assert neither.failed
        assert neither.result["reason"] == "psutil_missing"
        assert "psutil" in neither.msg
        assert "install" in neither.msg
        assert "\n" not in neither.msg
    assert (life(node), listeners(epmd.port)) == before
    assert node.pid not in holders(epmd.port)
    done = register(environment=python_with(tmp_path, NO_SOCK_DIAG), name="vic")
    assert done.changed, done.output
    assert done.node["pid"] == node.pid
    assert epmd.names() == {"vic": node.port}


@pytest.mark.one_release
def test_port_name_and_cookie_suffice_where_nothing_lists_sockets(
    otp: Otp, epmd: Epmd, node: Node, register: Register, tmp_path: Path
) -> None:
    lose(epmd, node)
    neither = python_with(tmp_path, NO_PSUTIL, NO_SOCK_DIAG)
    done = register(environment=neither, name="vic", port=node.port, epmd_port=epmd.port, cookie=COOKIE)
    if otp.release == 23:
        assert done.changed, done.output
        assert epmd.names() == {"vic": node.port}
        assert holders(epmd.port) == {node.pid}
    else:  # whose epmd to start can't be seen
        assert done.failed
        assert done.result["reason"] == "epmd_not_started"
        assert not listeners(epmd.port)


@pytest.mark.one_release
@pytest.mark.parametrize("option", ["cookie", "cookie_file"])
def test_port_name_and_cookie_suffice_without_psutil(
    epmd: Epmd, node: Node, register: Register, tmp_path: Path, option: str
) -> None:
    (tmp_path / "cookie").write_text(COOKIE + "\n")
    value = COOKIE if option == "cookie" else str(tmp_path / "cookie")
    forget(epmd, node)
    without = python_with(tmp_path, NO_PSUTIL)
    done = register(environment=without, name="vic", port=node.port, epmd_port=epmd.port, **{option: value})
    assert done.changed
    assert done.node["registered"]
    assert epmd.names() == {"vic": node.port}
    assert holders(epmd.port) == {node.pid}
    assert not register(name="vic").changed


def test_the_started_epmd_is_the_nodes_own_and_outlives_the_run(open_otp: Otp, epmd: Epmd, register: Register) -> None:
    with open_otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, user="nobody", set_cookie_arg=False) as node:
        forget(epmd, node)
        kept = register(name="vic", start_epmd=False)
        assert kept.failed
        assert "start_epmd=false" in kept.msg
        assert listeners(epmd.port) == set()
        done = register(name="vic")
        assert done.changed, done.output
        (pid,) = listeners(epmd.port)
        assert Path(f"/proc/{pid}/exe").resolve() == (open_otp.bindir / "epmd").resolve()
        assert Path(f"/proc/{pid}").stat().st_uid == Path(f"/proc/{node.pid}").stat().st_uid
        # It has a session of its own, so it does not end with a terminal.
        assert os.getsid(pid) not in (os.getsid(0), os.getsid(node.pid))
        assert Path(f"/proc/{pid}/cwd").resolve() == Path("/")
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}


def test_a_name_with_another_port_is_a_conflict(epmd: Epmd, node: Node, register: Register) -> None:
    with squatted(epmd, node, 4711):
        before = life(node)
        done = register(name="vic")
        assert done.failed
        assert not done.changed
        assert (done.node["verdict"], done.node["registered"]) == ("conflict", False)
        assert f"its holder is pid {os.getpid()} of user root" in done.msg
        assert "nothing listens on port 4711" in done.msg
        assert epmd.names() == {"vic": 4711}
        assert life(node) == before


@pytest.mark.one_release
def test_the_node_that_answers_on_the_port_of_a_conflict_is_named(
    otp: Otp, epmd: Epmd, node: Node, register: Register
) -> None:
    with otp.node("other", epmd_port=epmd.port) as other, squatted(epmd, node, other.port):
        done = register(name="vic")
        assert done.failed
        assert f"port {other.port} belongs to pid {other.pid} of user root" in done.msg
        assert f"where a node answers that calls itself {other.name}" in done.msg
        assert other.cookie not in done.output
        assert (node.log, other.log) == ("", "")


def test_a_name_that_another_process_holds_is_borrowed(otp: Otp, epmd: Epmd, node: Node, register: Register) -> None:
    with squatted(epmd, node, node.port):
        if otp.release != 23:  # it tries to register again and again, and each attempt leaves a connection open
            wait_until(lambda: node.pid in holders(epmd.port), "the node to be refused its name")
        done = register(name="vic")
        assert not done.failed
        assert not done.changed
        assert done.node["verdict"] == "borrowed"
        assert f"its holder is pid {os.getpid()} of user root" in done.output


@pytest.mark.one_release
def test_a_node_in_another_network_namespace(epmd: Epmd, node: Node, register: Register) -> None:
    before = life(node)
    apart = register("--diff", name="vic", within=["unshare", "--net"])
    assert (apart.failed, apart.changed, apart.node["verdict"]) == (False, False, "registered")
    own = int(Path("/proc/self/ns/net").readlink().name.strip("net:[]"))
    assert apart.node["namespace"] == own
    (daemon,) = apart.result["daemons"]
    assert (daemon["namespace"], daemon["names"], daemon["pid"]) == (own, {"vic": node.port}, epmd.pid)
    here = register(name="vic")
    assert here.node == {**apart.node, "namespace": None}
    assert life(node) == before
