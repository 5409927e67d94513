# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and VMs that don't use epmd, can't be told, or don't allow us: they are left alone, and it is said why."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, Register, life, lose, recover
from ansible_collections.beamops.epmd.tests.lab import (
    Epmd,
    Node,
    Otp,
    forget,
    free_port,
    holders,
    listeners,
    wait_until,
)

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
        assert_left_alone(register, epmd, node, "its own epmd_module my_discovery")
        assert register("--check").node == register(name="vic").node
        saw("-epmd_module", otp.release, "not_applicable: it finds other nodes without epmd")


def test_a_node_without_a_distribution_port(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    with otp.node("vic", epmd_port=epmd.port, args=["-dist_listen", "false"]) as node:
        assert node.name.startswith("vic@")
        assert_left_alone(register, epmd, node, "started with -dist_listen false and listens nowhere")
        assert not register(name="vic").failed
        saw("-dist_listen false", otp.release, "not_applicable: no node can connect to it")


def test_a_node_with_a_lent_name(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    with otp.node("undefined", epmd_port=epmd.port) as node:
        assert_left_alone(register, epmd, node, "started with -sname undefined and listens nowhere")
        saw("-sname undefined", otp.release, "not_applicable: no node can connect to it")


def test_a_node_that_needs_no_epmd(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    port = free_port()
    with otp.node("vic", epmd_port=epmd.port, args=["-erl_epmd_port", str(port)]) as node:
        there = register()
        assert (there.changed, there.node["verdict"], there.node["port"]) == (False, "registered", port)
        forget(epmd, node)
        assert_left_alone(
            register, epmd, node, f"-erl_epmd_port {port} -start_epmd false, has no connection to an epmd"
        )
        saw("-erl_epmd_port without an epmd", otp.release, "not_applicable: it needs no epmd")


def test_a_node_that_needs_no_epmd_beside_that_of_others(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    epmd.kill()
    args = ["-erl_epmd_port", str(free_port())]
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=args) as node:
        epmd.start()
        with otp.node("other", epmd_port=epmd.port, cookie=COOKIE) as other:
            before = life(node), life(other)
            for done in (register(), register(name="vic"), register("--check"), register(name=["vic", "other"])):
                assert not done.failed, done.output
                assert not done.changed
                verdicts = {found["pid"]: found["verdict"] for found in done.result["nodes"]}
                assert verdicts[node.pid] == "not_applicable"
                assert verdicts.get(other.pid, "registered") == "registered"
            assert epmd.names() == {"other": other.port}
            assert (life(node), life(other)) == before
        saw("-erl_epmd_port, beside an epmd of others", otp.release, "not_applicable: it needs no epmd")


@pytest.mark.parametrize(
    ("kind", "setting", "since"),
    [
        ("epmd_module in a sys.config", "{epmd_module, my_discovery}", 27),
        ("erl_epmd_node_listen_port in a sys.config", "{erl_epmd_node_listen_port, PORT}", 27),
    ],
    ids=["epmd_module", "port"],
)
def test_a_node_that_says_itself_that_it_needs_no_epmd(
    otp: Otp, discovery: list[str], register: Register, saw: Saw, tmp_path: Path, kind: str, setting: str, since: int
) -> None:
    """Its setting stands on no command line, so it is asked before an epmd is started, or it is registered."""
    if otp.release < since:
        pytest.skip(f"since OTP {since}")
    (tmp_path / "sys.config").write_text(f"[{{kernel, [{setting.replace('PORT', str(free_port()))}]}}].\n")
    port = free_port()
    args = [*discovery[:2], "-config", str(tmp_path / "sys")]
    with otp.node("vic", epmd_port=port, cookie=COOKIE, args=args) as node:
        before = life(node)
        for _unused in range(2):
            done = register()
            assert not done.failed, done.output
            assert (done.changed, done.node["verdict"], listeners(port)) == (False, "not_applicable", set())
        with otp.epmd(port) as epmd:
            done = register(name="vic")
            assert (done.failed, done.changed, done.node["verdict"]) == (False, False, "not_applicable"), done.output
            assert epmd.names() == {}
        assert life(node) == before
        saw(kind, otp.release, "not_applicable: it says so itself")


# The position of the listeners in net_kernel's state differs between releases; their tag does not.
CLOSE_LISTENER = """
    [gen_tcp:close(element(2, Listen)) || Field <- tuple_to_list(sys:get_state(net_kernel)), is_list(Field),
        Listen <- Field, is_tuple(Listen), element(1, Listen) =:= listen]
"""


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("writing its crash dump", None),
        ("distribution stopped", "ok = supervisor:terminate_child(kernel_sup, net_sup)"),
        ("its listener closed", CLOSE_LISTENER),
    ],
    ids=["crash dump", "stopped", "closed"],
)
def test_a_node_that_listens_no_more(
    otp: Otp, epmd: Epmd, register: Register, saw: Saw, tmp_path: Path, kind: str, how: str | None
) -> None:
    os.mkfifo(tmp_path / "dump")  # it takes as long as nobody reads it
    env = {"ERL_CRASH_DUMP": str(tmp_path / "dump"), "ERL_CRASH_DUMP_SECONDS": "-1"}
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, env=env) as node:
        if how is None:
            os.kill(node.pid, signal.SIGUSR1)
        else:
            node.eval(how)
        wait_until(lambda: not listeners(node.port), "its listener to be closed")
        words = f"vic (pid {node.pid}): it was started as vic and listens nowhere"
        every = register()
        assert (every.failed, every.changed, every.node["verdict"]) == (False, False, "unidentified")
        assert words in every.output
        for name in ("vic", node.name):
            named = register(name=name)
            assert (named.failed, named.changed) == (True, False)
            assert words in named.msg
        if how != CLOSE_LISTENER:  # that one still holds its name
            with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE) as successor:
                assert register(name=node.name).failed
                done = register()
                assert not done.failed
                assert {found["pid"]: found["verdict"] for found in done.result["nodes"]} == {
                    node.pid: "unidentified",
                    successor.pid: "registered",
                }
        saw(f"node that listens nowhere, {kind}", otp.release, "unidentified: a warning; fails by name")


WEB_SERVER = (
    'inets:start(), {ok, _} = inets:start(httpd, [{port, 0}, {server_name, "host"}, {server_root, "."}, '
    '{document_root, "."}])'
)


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("what", "start", "words"),
    [
        ("without a port", "ok", "it listens nowhere"),
        ("with a web server", WEB_SERVER, "it was started without a name, and is no node now"),
    ],
    ids=["no port", "web server"],
)
def test_a_vm_without_distribution(
    otp: Otp, epmd: Epmd, register: Register, saw: Saw, what: str, start: str, words: str
) -> None:
    with otp.node(None, epmd_port=epmd.port) as vm:
        vm.eval(start)
        assert_left_alone(register, epmd, vm, words)
        saw(f"undistributed VM {what}", otp.release, f"not_applicable: {words}")


@pytest.mark.one_release
@pytest.mark.parametrize(("backlog", "like"), [(128, "like a node's"), (5, "of its own")], ids=["128", "5"])
def test_a_vm_that_may_be_a_node_does_not_fail_a_run_for_another(
    otp: Otp, epmd: Epmd, node: Node, register: Register, saw: Saw, backlog: int, like: str
) -> None:
    with otp.node(None, epmd_port=epmd.port) as vm:
        vm.eval(f"{{ok, _}} = gen_tcp:listen(0, [{{backlog, {backlog}}}])")
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
        saw(f"undistributed VM with a silent port {like}", otp.release, "unidentified: a warning")


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
