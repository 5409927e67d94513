# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes with distribution over IPv6 (`-proto_dist inet6_tcp`), and hosts where IPv6 is switched off."""

from __future__ import annotations

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, Register, life, recover
from ansible_collections.beamops.epmd.tests.lab import (
    Container,
    Epmd,
    Otp,
    bound,
    dialled,
    epmd_at,
    forget,
    free_port,
    listeners,
)

IPV6 = ["-proto_dist", "inet6_tcp"]


def test_a_node_is_dialled_and_registered_over_ipv6(otp: Otp, epmd: Epmd, register: Register, saw: Saw) -> None:
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=IPV6) as node:
        assert dialled(epmd.port) == {"::1"}
        done = recover(register, epmd, node)
        assert done.node["address"] == "::"
        assert dialled(epmd.port) == {"::1"}
        assert not register().changed
        saw("IPv6 (inet6_tcp)", otp.release, f"{done.node['verdict']}, registered again over ::1")


def test_an_epmd_that_listens_only_over_ipv4(otp: Otp, epmd: Epmd, register: Register) -> None:
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=IPV6) as node:
        before = life(node)
        forget(epmd, node)
        with epmd_at(otp.bindir / "epmd", "127.0.0.1", epmd.port) as pid:
            done = register(name="vic", timeout=60)
            assert (done.failed, done.changed, done.node["verdict"]) == (True, False, "epmd_unresponsive")
            assert f"the node asks ::1 port {epmd.port}, where nothing listens" in done.msg
            assert f"belongs to pid {pid} of user root" in done.msg
            assert listeners(epmd.port) == {pid}
        assert life(node) == before


def test_only_on_loopback(otp: Otp, register: Register, saw: Saw) -> None:
    """Node and epmd listen on ::1, which is also the host in its name."""
    only = ["-kernel", "inet_dist_use_interface", "{0,0,0,0,0,0,0,1}"]
    with (
        otp.epmd(address="::1") as epmd,
        otp.node(
            "vic@::1",
            epmd_port=epmd.port,
            cookie=COOKIE,
            args=[*IPV6, *only],
            env={"ERL_EPMD_ADDRESS": "::1"},
            long_names=True,
        ) as node,
    ):
        addresses = bound(epmd.port)
        forget(epmd, node)
        done = register(name="vic@::1")
        assert done.changed, done.output
        assert done.node["address"] == "::1"
        assert bound(epmd.port) == addresses
        assert dialled(epmd.port) == {"::1"}
        saw("IPv6, on ::1 alone", otp.release, f"{done.node['verdict']}, registered again over ::1")


def test_a_host_with_ipv6_switched_off(otp: Otp, register: Register, saw: Saw) -> None:
    """The module runs in it, and then outside, where there is IPv6."""
    with (
        Container(None, own=["net"], ipv6=False) as host,
        host.otp(otp).node("vic", epmd_port=free_port(), cookie=COOKIE, start_epmd=True) as node,
    ):
        assert node.eval("gen_tcp:connect({0,0,0,0,0,0,0,1}, 4369, [inet6])") == "{error,eaddrnotavail}"
        before = life(node)
        there = host.in_network([])
        facts = register(module="epmd_facts", within=there).result["ansible_facts"]["epmd"]
        (found,), (daemon,) = facts["nodes"], facts["daemons"]
        assert (found["name"], found["verdict"], found["namespace"]) == (node.name, "registered", None)
        assert daemon["names"] == {"vic": node.port}
        host.kill_epmd(node.epmd_port)
        done = register(name="vic", within=there)
        assert done.changed, done.output
        assert host.holders(node.epmd_port) == {node.pid}
        assert life(node) == before
        host.kill_epmd(node.epmd_port)
        outside = register(name="vic")
        assert outside.changed, outside.output
        assert host.holders(node.epmd_port) == {node.pid}
        assert life(node) == before
        saw("on a host with IPv6 switched off", otp.release, f"{done.node['verdict']}, registered again")
