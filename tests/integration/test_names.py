# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of every form, one epmd or several, addresses and ports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._legible import legible
from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import (
    COOKIE,
    Register,
    life,
    lose,
    recover,
)
from ansible_collections.beamops.epmd.tests.lab import (
    Epmd,
    FakeServer,
    Node,
    Otp,
    Squatter,
    bound,
    client_pings,
    forget,
    free_port,
    hang,
    holders,
    listeners,
)

# The listeners of all calls stay open in the node.
OPEN = """
    Others = [element(2, {{ok, _}} = gen_tcp:listen(0, [{{backlog, Backlog}}])) || Backlog <- {backlogs}],
    put(others, Others ++ case get(others) of undefined -> []; Earlier -> Earlier end)
"""
NO_CLIENT = "[{error,timeout}]"


def accepted(node: Node) -> str:
    """The clients that have connected to these listeners, even for a moment."""
    return node.eval("lists:usort([gen_tcp:accept(Socket, 0) || Socket <- get(others)])")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("short name", "vic"),
        ("long name", "vic@127.0.0.1"),
        ("long name whose host does not resolve", "vic@host.example.org"),
    ],
    ids=lambda value: value.replace(" ", "-"),
)
def test_a_name_of_every_form(otp: Otp, epmd: Epmd, register: Register, saw: Saw, kind: str, name: str) -> None:
    if name.endswith(".org"):
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo(name.partition("@")[2], None)
    with otp.node(name, epmd_port=epmd.port, cookie=COOKIE, long_names="@" in name) as node:
        done = recover(register, epmd, node)
        assert client_pings(otp, node) == "pong"
        assert not register(name=node.name).changed
        wrong = register(name="vic@elsewhere")
        assert wrong.failed
        assert f"no such node runs here; running: {node.name}" in wrong.msg
        saw(kind, otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.parametrize(
    ("locale", "name", "own"),
    [
        ("C.UTF-8", "vic@hôst", "vic@hôst"),
        ("C", "vic@hôst", "vic@h\xc3\xb4st"),
        ("C", "vic@жук", "vic@\xd0\xb6\xd1\x83\xd0\xba"),
    ],
    ids=["utf8", "bytes", "bytes-beyond-latin1"],
)
def test_a_name_in_utf8(otp: Otp, epmd: Epmd, register: Register, saw: Saw, locale: str, name: str, own: str) -> None:
    """Erlang allows such letters only in the host. In a locale without UTF-8, each byte becomes a letter."""
    with otp.node(name, epmd_port=epmd.port, cookie=COOKIE, env={"LANG": locale}) as node:
        assert node.name == own
        done = recover(register, epmd, node, name=name)
        assert done.node["name"] == legible(own)
        assert not register(name=own).changed
        where = "a UTF-8 locale" if locale == "C.UTF-8" else "LANG=C"
        saw(f"name in UTF-8, started in {where}", otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.one_release
def test_a_name_at_epmd_is_found_as_a_user_types_it(epmd: Epmd, register: Register) -> None:
    """Only a node that is not an Erlang VM can have such letters before the host."""
    with Squatter(epmd.port, "жук".encode().decode("latin-1"), 4711):
        done = register(name="жук@host", epmd_port=epmd.port)
        assert done.failed
        assert "жук@host: epmd has this name with port 4711" in done.msg


@pytest.mark.one_release
def test_several_epmds_of_which_one_has_lost_a_name(
    otp: Otp, epmd: Epmd, node: Node, register: Register, saw: Saw
) -> None:
    """The nodes have the same name, which is possible with several epmds on a host."""
    with otp.epmd() as other, otp.node("vic", epmd_port=other.port, cookie=COOKIE) as lost:
        assert node.name == lost.name
        before, connection = life(node), holders(epmd.port)
        lose(other, lost)
        done = register("--diff", name="vic")
        changed = {found["epmd_port"]: (found["pid"], found["changed"]) for found in done.result["nodes"]}
        assert changed == {epmd.port: (node.pid, False), other.port: (lost.pid, True)}
        assert (epmd.names(), other.names()) == ({"vic": node.port}, {"vic": lost.port})
        assert holders(other.port) == {lost.pid}
        assert (life(node), holders(epmd.port), listeners(epmd.port)) == (before, connection, {epmd.pid})
        assert f"+name vic at port {node.port}" not in done.output
        assert not register().changed
        saw("several epmds on one host (ERL_EPMD_PORT)", otp.release, "only the lost one is registered again")


@pytest.mark.one_release
def test_the_wrong_epmd_port_changes_nothing(otp: Otp, epmd: Epmd, node: Node, register: Register) -> None:
    """A node only uses the epmd that it was started with."""
    with otp.epmd() as other:
        before, connection = life(node), holders(epmd.port)
        healthy = register(name="vic", epmd_port=other.port)
        assert not healthy.failed
        assert (healthy.changed, healthy.node["verdict"]) == (False, "registered")
        assert healthy.node["epmd_port"] == epmd.port

        # Of a node that is given by port and cookie, only its answers are known.
        unknown = register(name="vic", port=node.port, cookie=COOKIE, epmd_port=other.port)
        assert unknown.failed
        assert not unknown.changed
        assert (
            f"the node uses the epmd on port {epmd.port}, not {other.port}: give epmd_port={epmd.port}" in unknown.msg
        )
        assert (life(node), holders(epmd.port)) == (before, connection)

        lose(epmd, node)
        for arguments in ([], ["--check"]):
            lost = register(*arguments, name="vic", epmd_port=other.port)
            assert lost.failed
            assert not lost.changed
            assert f"on port {epmd.port}); the node uses no other, so leave out epmd_port={other.port}" in lost.msg
        assert (holders(epmd.port), other.names()) == (set(), {})


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_epmd_is_started_on_the_nodes_address(otp: Otp, register: Register, saw: Saw, address: str) -> None:
    env = {"ERL_EPMD_ADDRESS": address}
    with (
        otp.epmd(address=address) as epmd,
        otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, env=env) as node,
    ):
        addresses = bound(epmd.port)
        assert address in addresses
        assert "0.0.0.0" not in addresses
        assert not register(name="vic").changed
        forget(epmd, node)
        done = register(name="vic")
        assert done.changed, done.output
        assert bound(epmd.port) == addresses
        assert epmd.names() == {"vic": node.port}
        (pid,) = listeners(epmd.port)
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        assert {f"ERL_EPMD_PORT={epmd.port}", f"ERL_EPMD_ADDRESS={address}"} <= set(environment)
        (daemon,) = register(module="epmd_facts").result["ansible_facts"]["epmd"]["daemons"]
        assert set(daemon["addresses"]) == addresses
        saw("epmd on one address (ERL_EPMD_ADDRESS)", otp.release, "epmd_down, started on that address")


def test_a_node_is_dialled_where_it_listens(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    args = ["-kernel", "inet_dist_use_interface", "{127,0,0,2}", "inet_dist_listen_min", str(free_port())]
    with (
        otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=args) as node,
        FakeServer(hang, port=node.port) as other,  # the same port, at 127.0.0.1
    ):
        done = recover(register, epmd, node)
        assert done.node["address"] == "127.0.0.2"
        assert other.accepted == 0
        saw("inet_dist_use_interface", otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.one_release
def test_a_given_port_is_dialled_where_it_listens(otp: Otp, epmd: Epmd, register: Register) -> None:
    """With a port and a cookie, no process is looked for: only the listener has the address."""
    args = ["-kernel", "inet_dist_use_interface", "{127,0,0,2}"]
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=args) as node:
        lose(epmd, node)
        done = register(name="vic", port=node.port, epmd_port=epmd.port, cookie=COOKIE)
        assert done.changed, done.output
        assert done.node["address"] == "127.0.0.2"
        assert holders(epmd.port) == {node.pid}


def test_the_distribution_port_is_recognised_by_its_range(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    """Another listener of the same kind is older than the distribution port: only the range distinguishes them."""
    port = free_port()
    limits = ["-kernel", "inet_dist_listen_min", str(port), "inet_dist_listen_max", str(port + 9)]
    with otp.node(None, epmd_port=epmd.port, cookie=COOKIE, set_cookie_arg=False, args=limits) as node:
        node.eval(OPEN.format(backlogs=[128]))
        node.eval("{ok, _} = net_kernel:start([vic, shortnames])")
        assert port <= node.port <= port + 9
        done = recover(register, epmd, node)
        assert accepted(node) == NO_CLIENT
        words = f"{done.node['verdict']}, registered again; only that range is dialled"
        saw("inet_dist_listen_min and _max", otp.release, words)


RANGE = "inet_dist_listen_min {0} inet_dist_listen_max {0}"


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("a second -kernel with another range", f"-kernel {RANGE.format('PORT')} -kernel {RANGE.format(1)}"),
        ("a range of a service (8080), in flags", f"-kernel {RANGE.format(8080)}"),
        ("a range of a service (5222), in flags", f"-kernel {RANGE.format(5222)}"),
        ("a range of a service (8080), in a sys.config", "-config CONFIG"),
        ("a backlog of its own", "-kernel inet_dist_listen_options [{backlog,7}]"),
        ("-proto_dist twice", "-proto_dist inet6_tcp -proto_dist inet6_tcp"),
    ],
    ids=["second range", "8080", "5222", "8080 in a file", "backlog", "protocol"],
)
def test_a_flag_that_is_not_what_it_looks_like_hides_no_node(
    otp: Otp, epmd: Epmd, register: Register, saw: Saw, tmp_path: Path, kind: str, args: str
) -> None:
    port = 8080 if "CONFIG" in args else free_port()
    limits = f"[{{kernel, [{{inet_dist_listen_min, {port}}}, {{inet_dist_listen_max, {port}}}]}}].\n"
    (tmp_path / "sys.config").write_text(limits)
    flags = args.replace("PORT", str(port)).replace("CONFIG", str(tmp_path / "sys")).split()
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=flags) as node:
        healthy = register()
        assert (healthy.failed, healthy.node["verdict"], healthy.node["port"]) == (False, "registered", node.port)
        done = recover(register, epmd, node)
        assert not register().changed
        saw(kind, otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("kind", "name"),
    [("its name from its start", "vic"), ("its name at run time (net_kernel:start)", None)],
    ids=["start", "run-time"],
)
def test_its_other_listeners_are_not_dialled(
    otp: Otp, epmd: Epmd, register: Register, saw: Saw, kind: str, name: str | None
) -> None:
    with otp.node(name, epmd_port=epmd.port, cookie=COOKIE, set_cookie_arg=False) as node:
        backlogs = [5, 1024]
        if name is None:
            node.eval(OPEN.format(backlogs=backlogs))
            node.eval("{ok, _} = net_kernel:start([vic, shortnames])")
        # A listener that is younger than the distribution port may be of the same kind.
        node.eval(OPEN.format(backlogs=[*backlogs, 128]))
        assert not register().changed
        done = recover(register, epmd, node)
        assert accepted(node) == NO_CLIENT
        saw(
            f"several listeners, {kind}",
            otp.release,
            f"{done.node['verdict']}, registered again; the others are not dialled",
        )


def test_a_hidden_node(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=["-hidden"]) as node:
        done = recover(register, epmd, node)
        assert done.node["hidden"]
        assert client_pings(otp, node) == "pong"
        saw("hidden node (-hidden)", otp.release, f"{done.node['verdict']}, registered again")
