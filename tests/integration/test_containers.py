# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes in containers and other namespaces: recovered from the host, and never confused with nodes of the host.

With BEAMOPS_CONTAINERS=podman, those as Docker makes them are made by podman; the CI does both.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil
import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import (
    COOKIE,
    Register,
    life,
    lose,
    lose_inside,
    without,
)
from ansible_collections.beamops.epmd.tests.lab import (
    Container,
    Epmd,
    Node,
    Otp,
    docker_like,
    holders,
    listeners,
    system,
)

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def limits(pid: int) -> list[str]:
    """The lines of /proc/PID/status with the bounding set of capabilities and no_new_privs."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [line for line in lines if line.startswith(("CapBnd:", "NoNewPrivs:"))]


@pytest.fixture
def box(otp: Otp) -> Iterator[Container]:
    """A container with its own Debian as Docker makes it, by the lab or by podman (BEAMOPS_CONTAINERS)."""
    with docker_like(system(otp.release)) as running:
        yield running


@pytest.mark.parametrize("user", ["root", "ejabberd"])
def test_a_lost_node_is_registered_again(otp: Otp, box: Container, register: Register, saw: Saw, user: str) -> None:
    with box.node("vic", release=otp.release, cookie=COOKIE, user=user) as node:
        before, namespace = life(node), box.namespace("net")
        healthy = register(name="vic")
        assert (healthy.changed, healthy.node["verdict"]) == (False, "registered")
        verdict = lose_inside(box, otp.release)

        predicted = register("--check", "--diff", name="vic")
        assert (predicted.changed, predicted.node["verdict"]) == (True, verdict)
        assert f"in network namespace {namespace}" in predicted.output
        assert box.names() == {}

        done = register("--diff", name="vic")
        assert done.changed, done.output
        assert (done.node["verdict"], done.node["registered"]) == (verdict, True)
        assert (done.node["namespace"], done.node["pid"]) == (namespace, node.pid)
        assert box.names() == {"vic": node.port}
        assert box.holders(4369) == {node.pid}
        assert not listeners(4369)  # on the host, no epmd was started
        assert life(node) == before
        assert not register(name="vic").changed
        who = "root" if user == "root" else "a user of its own"
        saw(f"in a container as Docker makes them, as {who}", otp.release, f"{verdict}, registered again inside")


@pytest.mark.one_release
@pytest.mark.parametrize("user", ["root", "ejabberd"])
def test_epmd_is_started_where_the_node_lives(otp: Otp, box: Container, register: Register, user: str) -> None:
    with box.node("vic", release=otp.release, cookie=COOKIE, user=user) as node:
        box.kill_epmd()
        done = register(name="vic")
        assert done.changed, done.output
        (daemon,) = done.result["daemons"]
        assert (daemon["started"], daemon["namespace"]) == (True, box.namespace("net"))
        (pid,) = box.listeners(4369)
        assert daemon["pid"] == pid
        assert daemon["user"] == done.node["user"] == user
        epmd = psutil.Process(pid)
        assert epmd.uids().effective == psutil.Process(node.pid).uids().effective
        for kind in NAMESPACES:
            assert os.stat(f"/proc/{pid}/ns/{kind}").st_ino == os.stat(f"/proc/{node.pid}/ns/{kind}").st_ino, kind
        for link in ("root", "cwd"):
            inside = os.stat(f"/proc/{pid}/{link}")
            assert (inside.st_dev, inside.st_ino) == (os.stat(box.root).st_dev, os.stat(box.root).st_ino), link
        with open(f"/proc/{pid}/cgroup") as its, open(f"/proc/{node.pid}/cgroup") as nodes:
            assert its.read() == nodes.read()
        # The program is the container's own, so it must not get more rights than the container has.
        assert limits(pid) == limits(node.pid) != limits(os.getpid())


@pytest.mark.one_release
def test_one_name_in_two_containers_and_on_the_host(
    otp: Otp, epmd: Epmd, node: Node, box: Container, register: Register, saw: Saw
) -> None:
    """Each has its own epmd, its own port and its own cookie."""
    with (
        docker_like(system(otp.release), "other") as other,
        box.node("vic", release=otp.release, cookie="cookie-of-the-first") as one,
        other.node("vic", release=otp.release, cookie="cookie-of-the-second") as two,
    ):
        lose(epmd, node)
        lose_inside(box, otp.release)
        lose_inside(other, otp.release)
        done = register(name="vic")
        assert done.changed, done.output
        ports = {found["namespace"]: (found["name"], found["port"]) for found in done.result["nodes"]}
        assert ports == {
            None: (node.name, node.port),
            box.namespace("net"): (one.name, one.port),
            other.namespace("net"): (two.name, two.port),
        }
        assert epmd.names() == {"vic": node.port}
        assert box.names() == {"vic": one.port}
        assert other.names() == {"vic": two.port}
        only = register(name=two.name)
        assert [found["name"] for found in only.result["nodes"]] == [two.name], only.output
        assert not only.changed
        saw("one name on several hosts (containers)", otp.release, "each registered again at its own epmd")


@pytest.mark.one_release
def test_a_port_of_a_container_is_not_a_port_of_the_host(otp: Otp, box: Container, register: Register) -> None:
    with box.node("vic", release=otp.release, cookie=COOKIE) as node:
        done = register(name="vic", port=node.port)
        assert done.failed
        assert f"port {node.port}" in done.msg


@pytest.mark.one_release
def test_a_link_in_a_container_is_followed_inside(otp: Otp, box: Container, register: Register) -> None:
    with box.node("vic", release=otp.release, cookie=COOKIE) as node:
        inside = f"/srv/{secrets.token_hex(4)}"
        box.write(inside, COOKIE)
        (box.root / "root/.erlang.cookie").unlink()
        (box.root / "root/.erlang.cookie").symlink_to(inside)
        lose_inside(box, otp.release)
        done = register(name="vic")
        assert done.changed, done.output
        assert box.names() == {"vic": node.port}


@pytest.mark.one_release
def test_the_facts_name_the_namespace(otp: Otp, box: Container, register: Register) -> None:
    with box.node("vic", release=otp.release, cookie=COOKIE) as node:
        namespace = box.namespace("net")
        facts = register(module="epmd_facts").result["ansible_facts"]["epmd"]
        (found,) = facts["nodes"]
        assert (found["name"], found["namespace"], found["verdict"]) == (node.name, namespace, "registered")
        (daemon,) = [each for each in facts["daemons"] if each["namespace"] == namespace]
        assert daemon["names"] == {"vic": node.port}


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("in a chroot", ()),
        ("in a chroot with a network of its own", ("net",)),
        ("in a root of its own with the host's network, as podman --net=host", ("mount", "uts", "ipc", "pid")),
        ("in a container with a user namespace of its own", ("user", "mount", "uts", "ipc", "net", "pid")),
    ],
)
def test_other_places(otp: Otp, register: Register, saw: Saw, kind: str, own: Collection[str]) -> None:
    with (
        Container(system(otp.release), own=own) as box,
        box.node("vic", release=otp.release, cookie=COOKIE) as node,
    ):
        verdict = lose_inside(box, otp.release)
        done = register(name="vic")
        assert done.changed, done.output
        assert done.node["namespace"] == (box.namespace("net") if "net" in own else None)
        assert box.names() == {"vic": node.port}
        assert box.holders(4369) == {node.pid}
        (pid,) = box.listeners(4369)
        assert os.path.samefile(f"/proc/{pid}/root", box.root)
        assert node.log == ""
        saw(kind, otp.release, f"{verdict}, registered again inside")


@pytest.mark.one_release
def test_a_container_that_needs_the_epmd_of_the_host(otp: Otp, register: Register) -> None:
    """It shares the network of the host, starts no epmd itself, and the host has no unit for one."""
    with Container(system(otp.release), own=("mount", "uts", "ipc", "pid")) as box:
        box.start_epmd()
        arguments = ["-start_epmd", "false"]
        with box.node("vic", release=otp.release, cookie=COOKIE, args=arguments) as node:
            before = life(node)
            box.kill_epmd()
            done = register(name="vic")
            assert (done.failed, done.changed, done.result["reason"]) == (True, False, "epmd_not_started")
            assert "but the host has no enabled systemd unit for it: start the epmd of the host" in done.msg
            assert not box.listeners(4369)
            assert life(node) == before


@pytest.mark.one_release
def test_a_network_of_its_own_alone(otp: Otp, register: Register, saw: Saw) -> None:
    """As with PrivateNetwork= of systemd: files, processes and Erlang are the host's."""
    with (
        Container(None, own=("net",)) as box,
        otp.epmd() as elsewhere,
        box.otp(otp).node("vic", epmd_port=elsewhere.port, cookie=COOKIE, start_epmd=True) as node,
    ):
        box.kill_epmd(elsewhere.port)
        done = register(name="vic")
        assert done.changed, done.output
        assert box.holders(elsewhere.port) == {node.pid}
        assert elsewhere.names() == {}  # the epmd on the host, on the same port
        assert holders(elsewhere.port) == set()
        assert node.log == ""
        saw(
            "with a network of its own (PrivateNetwork= of systemd)",
            otp.release,
            "epmd_down, registered again inside",
        )


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (
            ["sys_admin"],
            "it is in a place of its own, as in a container, and its network namespace can't be entered (Operation not "
            "permitted), because root has no CAP_SYS_ADMIN, as in a container: "
            "add it (docker run --cap-add=SYS_ADMIN), or run on the host",
        ),
        # A process that has every capability of the other one could still see it.
        (["sys_admin", "sys_ptrace", "chown"], "may not see its sockets, because root has no CAP_SYS_PTRACE, "),
    ],
    ids=["to-enter", "to-see"],
)
def test_without_the_rights(otp: Otp, box: Container, register: Register, missing: list[str], words: str) -> None:
    with box.node("vic", release=otp.release, cookie=COOKIE) as node:
        lose_inside(box, otp.release)
        done = register(name="vic", within=without(*missing))
        assert done.failed
        assert done.node["verdict"] == "unidentified"
        assert words in done.msg
        assert "become" not in done.msg
        unnamed = register(within=without(*missing))
        assert unnamed.node["verdict"] == "unidentified"
        assert box.names() == {}
        if "sys_ptrace" not in missing:
            other = register(name="vic", within=without("sys_chroot"))
            words = (
                "its root directory can't be entered (Operation not permitted), because root has no CAP_SYS_CHROOT, "
            )
            assert (other.failed, other.changed) == (True, False)
            assert words in other.msg
            enough = "sys_ptrace,+dac_read_search,+setuid,+setgid,+sys_admin,+sys_chroot,+setpcap"
            done = register(name="vic", within=["setpriv", f"--bounding-set=-all,+{enough}", "--inh-caps=-all"])
            assert done.changed, done.msg
        assert node.log == ""
