# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unusual nodes: another socket backend, another user, a command line without the name; and C nodes."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import (
    COOKIE,
    Register,
    hand_on,
    life,
    lose,
    recover,
    without,
)
from ansible_collections.beamops.epmd.tests.lab import (
    CNode,
    Epmd,
    Node,
    Otp,
    holders,
    listeners,
    overwrite_command_line,
    wait_until,
)
from ansible_collections.beamops.epmd.tests.nobody import as_nobody


def test_a_node_with_the_socket_backend(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    args = ["-kernel", "inet_backend", "socket"]
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=args) as node:
        done = recover(register, epmd, node)
        assert not register(name="vic").changed
        saw("-kernel inet_backend socket", otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.one_release
def test_a_node_of_another_user(open_otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    with open_otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, user="nobody", set_cookie_arg=False) as node:
        done = recover(register, epmd, node)
        assert done.node["user"] == "nobody"
        saw("node of another user, with become", open_otp.release, f"{done.node['verdict']}, registered again")


SEES_NO_SOCKETS = [
    "the node vic with pid ",
    " belongs to nobody, and root may not see its sockets, because root has no CAP_SYS_PTRACE, as in a container: ",
    "become the node's user (become_user: nobody), add it (docker run --cap-add=SYS_PTRACE), or run on the host",
]
# Without gid, the group of root still sees all.
WITH_HIDEPID = 'mount -t proc -o hidepid=2,gid=4711 proc /proc && exec "$@"'
MISSING = {
    "root without CAP_SYS_PTRACE": (without("sys_ptrace"), SEES_NO_SOCKETS),
    "root without CAP_SYS_PTRACE and CAP_DAC_OVERRIDE": (
        without("sys_ptrace", "dac_override", "dac_read_search"),
        ["because root has no CAP_SYS_PTRACE and no CAP_DAC_READ_SEARCH, ", "become_user: nobody"],
    ),
    "root without CAP_SETUID": (
        without("setuid"),
        ["files can't be read as user 65534 ", "root has no CAP_SETUID, ", "(docker run --cap-add=SETUID)"],
    ),
    "root without CAP_SYS_PTRACE, hidepid=2": (
        ["unshare", "--mount", "sh", "-c", WITH_HIDEPID, "sh", *without("sys_ptrace")],
        ["no such node runs here", "hides the processes of others from root", "CAP_SYS_PTRACE", "(become_user)"],
    ),
    "root of a user namespace": (
        ["unshare", "--user", "--map-root-user"],
        ["root may not see its sockets, because root is root only in its user namespace", ": run on the host as its"],
    ),
}


def test_of_a_root_that_lacks_a_right_this_is_named(open_otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    with open_otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, user="nobody", set_cookie_arg=False) as node:
        before = life(node)
        lose(epmd, node)
        for kind, (within, words) in MISSING.items():
            done = register(name="vic", within=within)
            assert (done.failed, done.changed) == (True, False), done.msg
            for word in words:
                assert word in done.msg
            assert "run with become" not in done.msg
            assert node.pid not in holders(epmd.port)
            saw(f"node of another user, {kind}", open_otp.release, "fails: names the right and the ways to get it")
        enough = "--bounding-set=-all,+sys_ptrace,+dac_read_search,+setuid,+setgid"
        done = register(name="vic", within=["setpriv", enough, "--inh-caps=-all"])
        assert done.changed, done.msg
        assert epmd.names() == {"vic": node.port}
        assert life(node) == before


@pytest.mark.one_release
def test_a_node_of_the_user_who_runs_the_module(open_otp: Otp, epmd: Epmd, saw: Saw) -> None:
    with open_otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, user="nobody", set_cookie_arg=False) as node:
        before = life(node)
        lose(epmd, node)
        outcome = as_nobody(lambda: ensure(Options(["vic"]), Mode.REPAIR))
        assert outcome.changed, outcome.msg
        assert epmd.names() == {"vic": node.port}
        assert holders(epmd.port) == {node.pid}
        assert life(node) == before
        if open_otp.release != 23:
            (pid,) = listeners(epmd.port)
            assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        (found,) = outcome.nodes
        saw(
            "node of the user who runs the module, without become",
            open_otp.release,
            f"{found['verdict']}, registered again",
        )


@pytest.mark.parametrize(
    "where", ["-args_file (vm.args of a release)", "ERL_AFLAGS, ERL_FLAGS and ERL_ZFLAGS"], ids=["file", "environment"]
)
def test_a_node_that_is_named_outside_its_command_line(
    otp: Otp, epmd: Epmd, register: Register, saw: Saw, tmp_path: Path, where: str
) -> None:
    args, env = [], {"ERL_AFLAGS": "-sname vic", "ERL_FLAGS": f"-setcookie {COOKIE}", "ERL_ZFLAGS": "-hidden"}
    if where.startswith("-args_file"):
        inner = tmp_path / "inner.args"
        inner.write_text(f"-setcookie {COOKIE}\n")
        (tmp_path / "vm.args").write_text(f"## the node\n-sname vic # short\n-args_file {inner}\n+P 300000\n-hidden\n")
        args, env = ["-args_file", str(tmp_path / "vm.args")], {}
    with otp.node(None, epmd_port=epmd.port, set_cookie_arg=False, args=args, env=env) as node:
        assert node.eval("erlang:get_cookie()").strip("'") == COOKIE
        done = recover(register, epmd, node)
        assert done.node["hidden"]
        saw(f"named in {where}", otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.parametrize("what", ["replaced by a title", "cut before its name"])
def test_a_node_whose_command_line_lacks_its_name(
    otp: Otp, epmd: Epmd, register: Register, saw: Saw, what: str
) -> None:
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, set_cookie_arg=False) as node:
        line = Path(f"/proc/{node.pid}/cmdline")
        cut = line.read_bytes().partition(b"-sname")[0]
        overwrite_command_line(node, cut if what.startswith("cut") else b"my-server: idle")
        assert b"vic" not in line.read_bytes()
        done = recover(register, epmd, node)
        assert not register().changed
        saw(f"command line {what}", otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.one_release
def test_a_cookie_that_was_only_on_the_command_line(otp: Otp, epmd: Epmd, register: Register) -> None:
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE) as node:
        (node.home / ".erlang.cookie").unlink()
        overwrite_command_line(node, b"my-server: idle")
        lose(epmd, node)
        done = register(name="vic")
        assert done.failed
        assert f"no cookie at {node.home}/.erlang.cookie" in done.msg
        assert "give cookie or cookie_file" in done.msg
        assert not holders(epmd.port)
        assert register(name="vic", cookie=COOKIE).changed
        assert epmd.names() == {"vic": node.port}


def test_a_name_that_only_the_challenge_has(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    with otp.node(None, epmd_port=epmd.port, cookie=COOKIE, set_cookie_arg=False) as node:
        node.eval("{ok, _} = gen_tcp:listen(0, []), {ok, _} = net_kernel:start([late, shortnames])")
        done = recover(register, epmd, node)
        saw("name given at run time (net_kernel:start)", otp.release, f"{done.node['verdict']}, registered again")


def test_a_c_node(otp: Otp, epmd: Epmd, node: Node, register: Register, saw: Saw) -> None:
    with CNode(otp, "in_c", epmd.port, COOKIE) as foreign:
        table = {"vic": node.port, "in_c": foreign.port}
        assert epmd.names() == table
        facts = register(module="epmd_facts")
        (daemon,) = facts.result["ansible_facts"]["epmd"]["daemons"]
        assert daemon["names"] == table
        assert daemon["foreign"] == [{"name": "in_c", "port": foreign.port, "pid": foreign.pid, "user": "root"}]
        assert [found["name"] for found in facts.result["ansible_facts"]["epmd"]["nodes"]] == [node.name]

        every = register()
        assert not every.failed
        assert [found["name"] for found in every.result["nodes"]] == [node.name]
        named = register(name="in_c", epmd_port=epmd.port)
        assert named.failed
        assert not named.changed
        assert f"in_c: epmd has this name with port {foreign.port}, which belongs to pid {foreign.pid} " in named.msg
        assert "which is no Erlang VM" in named.msg
        assert "\n" not in named.msg

        assert epmd.names() == table
        assert holders(epmd.port) == {node.pid, foreign.pid}
        assert foreign.log == []
        assert node.eval(f"net_kernel:hidden_connect_node('in_c@{node.name.partition('@')[2]}')") == "true"
        wait_until(lambda: foreign.log == [f"connected {node.name}"], "the C node to say who has connected")
        saw("C node", otp.release, "foreign in the facts; fails by name: not an Erlang VM")

        node.suspend()  # so that it is not registered again meanwhile
        epmd.kill()
        epmd.start()
        lost = register(name="in_c", epmd_port=epmd.port, timeout=2)
        assert (lost.failed, lost.changed, epmd.names()) == (True, False, {})
        assert "in_c: no such node runs here" in lost.msg
        assert (
            "a Java or C node that epmd has forgotten can't be found, and registers only when it is started" in lost.msg
        )
        saw("C node that epmd has forgotten", otp.release, "fails by name: it can't be found")
        node.resume()


ODD_DIST = """
-module(odd_dist).
-export([select/1, listen/1, listen/2, accept/1, accept_connection/5, setup/5, close/1, is_node_name/1, address/0]).
-include_lib("kernel/include/net_address.hrl").
select(_) -> true.
address() -> #net_address{host = "host", protocol = odd, family = inet}.
listen(_) -> listen().
listen(_, _) -> listen().
listen() ->
    {ok, Socket} = gen_tcp:listen(0, [{active, false}, {backlog, 128}]),
    {ok, Port} = inet:port(Socket),
    {ok, {Socket, (address())#net_address{address = {{127, 0, 0, 1}, Port}}, 1}}.
accept(Socket) -> spawn_link(fun() -> loop(Socket) end).
loop(Socket) ->
    {ok, One} = gen_tcp:accept(Socket),
    gen_tcp:send(One, "HTTP/1.1 400 odd\r\n"),
    gen_tcp:close(One),
    loop(Socket).
accept_connection(_, _, _, _, _) -> exit(odd).
setup(_, _, _, _, _) -> exit(odd).
close(Socket) -> gen_tcp:close(Socket).
is_node_name(_) -> true.
"""


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("kind", "name", "module", "flags"),
    [
        ("-proto_dist that hands on to inet_tcp", "my_dist", "inet_tcp_dist", ["-proto_dist", "my"]),
        ("-proto_dist that hands on to inet6_tcp", "my_dist", "inet6_tcp_dist", ["-proto_dist", "my"]),
        ("-epmd_module that hands on to erl_epmd", "my_epmd", "erl_epmd", ["-epmd_module", "my_epmd"]),
    ],
    ids=["inet_tcp", "inet6_tcp", "epmd_module"],
)
def test_a_module_that_hands_on_to_that_of_otp(
    otp: Otp,
    epmd: Epmd,
    register: Register,
    saw: Saw,
    tmp_path: Path,
    kind: str,
    name: str,
    module: str,
    flags: list[str],
) -> None:
    args = [*hand_on(otp, name, module, tmp_path), *flags]
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=args) as node:
        healthy = register()
        assert (healthy.failed, healthy.changed, healthy.node["verdict"]) == (False, False, "registered"), healthy.msg
        done = recover(register, epmd, node)
        assert not register().changed
        lose(epmd, node)
        foretold = register("--check")
        assert (foretold.changed, foretold.node["verdict"]) == (True, done.node["verdict"])
        facts = register(module="epmd_facts").result["ansible_facts"]["epmd"]["nodes"]
        assert [found["verdict"] for found in facts] == [done.node["verdict"]]
        assert register().changed
        traces = [node.eval("{erlang:system_info(atom_count), nodes(known)}")]
        for _round in range(2):
            lose(epmd, node)
            assert register().changed
            traces.append(node.eval("{erlang:system_info(atom_count), nodes(known)}"))
        # The node itself may use something for the first time; a trace of ours would come with each run.
        assert len(set(traces)) < 3
        saw(kind, otp.release, f"{done.node['verdict']}, registered again")


def test_a_protocol_whose_port_does_not_answer_as_a_node(
    otp: Otp, epmd: Epmd, register: Register, saw: Saw, tmp_path: Path
) -> None:
    with otp.node(None, epmd_port=1) as compiler:
        (tmp_path / "odd_dist.erl").write_text(ODD_DIST)
        compiler.eval(f'{{ok, _}} = compile:file("{tmp_path}/odd_dist", [{{outdir, "{tmp_path}"}}])')
    args = ["-pa", str(tmp_path), "-proto_dist", "odd"]
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=args) as node:
        before = life(node)
        done = register()
        assert (done.failed, done.changed, done.node["verdict"]) == (False, False, "unidentified"), done.output
        assert f"vic (pid {node.pid}): it was started as vic, and no node answers" in done.output
        assert register(name="vic").failed
        assert (epmd.names(), life(node)) == ({}, before)
        saw("-proto_dist whose port is no node's", otp.release, "unidentified: a warning; fails by name")
