# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and VMs that don't use epmd, or don't allow us: they are left alone, and the message says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import Register, life, lose, recover
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp, forget, free_port, holders, listeners

REFUSAL = "** Connection attempt from disallowed node epmd_register **"


def assert_left_alone(register: Register, epmd: Epmd, node: Node, words: str) -> None:
    """A run for all nodes finds only this one, does nothing, and its message has these words."""
    before = life(node), listeners(epmd.port), holders(epmd.port)
    done = register()
    assert not done.failed, done.output
    assert not done.changed
    assert (done.node["pid"], done.node["verdict"]) == (node.pid, "not_applicable")
    assert words in done.node["msg"]
    assert done.result["daemons"] == []
    assert (life(node), listeners(epmd.port), holders(epmd.port)) == before


@pytest.fixture
def discovery(otp: Otp, epmd: Epmd, tmp_path: Path) -> list[str]:
    """The arguments of a node that finds other nodes with its own epmd_module."""
    module = tmp_path / "my_discovery.erl"
    module.write_text(
        "-module(my_discovery).\n"
        "-export([start_link/0, register_node/3, listen_port_please/2, names/1, init/1, handle_call/3]).\n"
        "start_link() -> ignore.\n"
        "register_node(_, _, _) -> {ok, 1}.\nlisten_port_please(_, _) -> {ok, 0}.\nnames(_) -> {ok, []}.\n"
        "init(_) -> {ok, []}.\nhandle_call(_, _, S) -> {reply, ok, S}.\n"
    )
    with otp.node(None, epmd_port=epmd.port) as compiler:
        source, target = str(module.with_suffix("")), str(tmp_path)
        compiler.eval(f'{{ok, _}} = compile:file("{source}", [{{outdir, "{target}"}}])')
    return ["-pa", str(tmp_path), "-epmd_module", "my_discovery"]


@pytest.mark.one_release
def test_a_node_with_its_own_epmd_module(
    otp: Otp, epmd: Epmd, discovery: list[str], register: Register, saw: Saw
) -> None:
    with otp.node("vic", epmd_port=epmd.port, args=discovery) as node:
        assert epmd.names() == {}
        assert_left_alone(register, epmd, node, "-epmd_module my_discovery")
        saw("-epmd_module", otp.release, "not_applicable: it finds other nodes without epmd")


def test_a_node_without_a_distribution_port(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    with otp.node("vic", epmd_port=epmd.port, args=["-dist_listen", "false"]) as node:
        assert node.name.startswith("vic@")
        assert_left_alone(register, epmd, node, "-dist_listen false")
        assert not register(name="vic").failed
        saw("-dist_listen false", otp.release, "not_applicable: no node can connect to it")


def test_a_node_with_a_lent_name(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    with otp.node("undefined", epmd_port=epmd.port) as node:
        assert_left_alone(register, epmd, node, "a name lent by another node")
        saw("-sname undefined", otp.release, "not_applicable: no node can connect to it")


def test_a_node_that_needs_no_epmd(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    port = free_port()
    with otp.node("vic", epmd_port=epmd.port, args=["-erl_epmd_port", str(port)]) as node:
        there = register()
        assert (there.changed, there.node["verdict"], there.node["port"]) == (False, "registered", port)
        forget(epmd, node)
        assert_left_alone(register, epmd, node, f"-erl_epmd_port {port}, and there is no epmd")
        saw("-erl_epmd_port without an epmd", otp.release, "not_applicable: it needs no epmd")


WEB_SERVER = (
    'inets:start(), {ok, _} = inets:start(httpd, [{port, 0}, {server_name, "host"}, {server_root, "."}, '
    '{document_root, "."}])'
)


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("what", "start", "words"),
    [
        ("without a port", "ok", "it listens nowhere"),
        ("with a port of its own", "{ok, _} = gen_tcp:listen(0, [])", "it listens only for other services"),
        ("with a web server", WEB_SERVER, "it was started without a name, and is no node now"),
    ],
    ids=["no port", "port", "web server"],
)
def test_a_vm_without_distribution(
    otp: Otp, epmd: Epmd, register: Register, saw: Saw, what: str, start: str, words: str
) -> None:
    with otp.node(None, epmd_port=epmd.port) as vm:
        vm.eval(start)
        assert_left_alone(register, epmd, vm, words)
        saw(f"undistributed VM {what}", otp.release, f"not_applicable: {words}")


@pytest.mark.one_release
def test_a_vm_that_may_be_a_node_does_not_fail_a_run_for_another(
    otp: Otp, epmd: Epmd, node: Node, register: Register, saw: Saw
) -> None:
    with otp.node(None, epmd_port=epmd.port) as vm:
        # With the backlog of a distribution port, but silent.
        vm.eval("{ok, _} = gen_tcp:listen(0, [{backlog, 128}])")
        before = life(node), life(vm)
        warning = f"an Erlang VM (pid {vm.pid}): no node answers"
        done = register(name="vic", timeout=6)
        assert not done.failed, done.output
        assert {found["pid"]: found["verdict"] for found in done.result["nodes"]} == {
            node.pid: "registered",
            vm.pid: "unidentified",
        }
        assert warning in done.output
        other = register(name="other", timeout=6)
        assert other.failed
        assert warning in other.msg
        assert "other: no such node runs here" in other.msg
        assert (life(node), life(vm)) == before
        saw("undistributed VM with a silent port like a node's", otp.release, "unidentified: a warning")


def test_a_node_that_does_not_allow_us(otp: Otp, epmd: Epmd, node: Node, register: Register, saw: Saw) -> None:
    node.eval("net_kernel:allow(['other@host'])")
    healthy = register(name="vic")
    assert (healthy.failed, healthy.changed, healthy.node["verdict"]) == (False, False, "registered")
    lose(epmd, node)
    before = listeners(epmd.port)
    node.eval("econnrefused")  # an atom that the node's own retry may create
    for _unused in range(2):
        kept = node.eval("{erlang:system_info(atom_count), nodes(known)}")
        done = register(name="vic")
        assert done.failed
        assert not done.changed
        assert "it does not allow us to connect: call net_kernel:allow(['epmd_register']) in it" in done.msg
        assert "\n" not in done.msg
    assert node.eval("{erlang:system_info(atom_count), nodes(known)}") == kept
    assert listeners(epmd.port) == before
    assert not holders(epmd.port)
    # One line for each refused connection, and each run made one connection.
    logged = [line.strip() for line in node.log.splitlines() if line and not line.startswith("=ERROR REPORT====")]
    assert logged == [REFUSAL] * 3
    saw("net_kernel:allow/1 without us", otp.release, f"{done.node['verdict']}, fails: one refusal in its log")


def test_a_node_that_allows_us(otp: Otp, epmd: Epmd, node: Node, register: Register, saw: Saw) -> None:
    node.eval("net_kernel:allow(['other@host', 'epmd_register'])")
    done = recover(register, epmd, node)
    saw("net_kernel:allow/1 with us", otp.release, f"{done.node['verdict']}, registered again")
