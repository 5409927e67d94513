# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes on a host with a real systemd and Debian's units for epmd.

The host is booted once. Each test leaves it as it was, which is checked.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, RELEASES
from ansible_collections.beamops.epmd.tests.lab import Systemd, UnitNode, run_payload, system, wait_until

BOOTED = [int(release) for release in os.environ.get("BEAMOPS_BOOTED", "").split()] or RELEASES
"""The releases of OTP whose Debian is booted; with each, these tests take half a minute of one processor."""

UNITS = ("epmd.socket", "epmd.service")

TRANSIENT = re.compile(r"beamops-epmd-4369-\d+\.service")

# The end of a login ends what it has started, and nobody needs a password to become root.
PREPARE = """
useradd --create-home admin
sed -i '1i auth sufficient pam_permit.so' /etc/pam.d/su
mkdir -p /etc/systemd/logind.conf.d /run/systemd/transient
printf '[Login]\\nKillUserProcesses=yes\\nUserStopDelaySec=0\\n' >/etc/systemd/logind.conf.d/kill.conf
systemctl restart systemd-logind
epmd -names >/dev/null
"""

# Only what is needed: systemd takes half a second to read its units again.
PUT_BACK = """
systemctl --quiet stop 'beamops-epmd-*' epmd.socket epmd.service
tries=0 # an epmd that ends, or only asks for the names, may still be there
while found=$(pgrep --exact epmd); do
    tries=$((tries + 1))
    if [ $tries = 50 ]; then
        echo 'an epmd was left behind:'
        ps -o pid,ppid,stat,unit,args -p $found
        pkill --signal KILL --exact epmd
    fi
    sleep 0.1
done
units=$(systemctl is-enabled epmd.socket epmd.service | uniq)
if [ "$units" != enabled ] || ls -d /run/systemd/system/epmd.* >/dev/null 2>&1; then
    rm -rf /etc/systemd/system/epmd.* /run/systemd/system/epmd.*
    systemctl --quiet enable epmd.socket epmd.service
fi
systemctl reset-failed
systemctl start epmd.service
epmd -names >/dev/null  # until it answers
"""


@pytest.fixture(
    scope="module",
    params=[release for release in BOOTED if release in RELEASES],
    ids=lambda release: f"otp{release}",
)
def host(request: pytest.FixtureRequest) -> Iterator[tuple[Systemd, str]]:
    """The host, and its state before the first test."""
    with Systemd(system(request.param)) as running:
        running.run("sh", "-e", "-c", PREPARE)
        yield running, running.state()


@pytest.fixture
def box(host: tuple[Systemd, str]) -> Iterator[Systemd]:
    """The host, whose state is put back after the test."""
    running, state = host
    yield running
    complaints = running.run("sh", "-e", "-c", PUT_BACK)
    wait_until(lambda: not running.logins(), "the logins to end")
    assert (complaints, running.state()) == ("", state)


@pytest.fixture
def release(request: pytest.FixtureRequest) -> int:
    """The release of OTP that the host has."""
    return int(request.node.callspec.params["host"])


@pytest.fixture
def node(box: Systemd) -> Iterator[UnitNode]:
    """A node in a unit of its own, registered at Debian's epmd. Its process lives on, and logs nothing."""
    with box.node("vic", COOKIE) as running:
        assert box.names() == {"vic": running.port}
        before = box.life(running)
        yield running
        assert box.life(running) == before


def register(box: Systemd, place: str = "inside", **options: Any) -> dict[str, Any]:
    """The result of `epmd_register` on the host itself, or outside, where the host is a container."""
    name = "epmd_register"
    result = box.module(name, **options) if place == "inside" else run_payload(name, options)
    assert COOKIE not in str(result)
    return result


def only(result: dict[str, Any], key: str) -> dict[str, Any]:
    """The only node or epmd of a result."""
    (found,) = result[key]
    return dict(found)


def facts(box: Systemd) -> dict[str, Any]:
    """What `epmd_facts` finds, on the host itself."""
    found = box.module("epmd_facts")["ansible_facts"]["epmd"]
    return dict(found)


def lose(box: Systemd, *, mask: Sequence[str] = ()) -> None:
    """Stop Debian's epmd, so that its names are lost, and mask these units of it."""
    box.systemctl("stop", *UNITS)
    if mask:
        box.systemctl("mask", *mask)
    wait_until(lambda: not box.holders(), "the nodes to notice that their epmd is gone")
    assert not box.listeners()


def drop_in(box: Systemd, unit: str, text: str) -> None:
    """Change a unit until the host is put back."""
    box.write(f"/run/systemd/system/{unit}.d/test.conf", text)
    box.systemctl("daemon-reload")


def enabled(box: Systemd) -> list[str]:
    """What systemd says of Debian's two units, such as `enabled`."""
    return box.completed(["systemctl", "is-enabled", *UNITS]).stdout.split()


def check_recovered(box: Systemd, node: UnitNode, result: dict[str, Any]) -> str:
    """The lost node holds its name, at an epmd that was started; the unit of that is returned."""
    found, daemon = only(result, "nodes"), only(result, "daemons")
    assert result["changed"], result
    assert (found["name"], found["verdict"], found["registered"]) == (f"vic@{box.name}", "epmd_down", True)
    assert (daemon["started"], daemon["state"], daemon["names"]) == (True, "up", {"vic": node.port})
    main = int(box.show(daemon["unit"], "MainPID"))
    from_outside = found["namespace"] is not None
    assert found["namespace"] == daemon["namespace"] == (box.network(1) if from_outside else None)
    assert found["pid"] == (box.outside(node.pid) if from_outside else node.pid)
    assert daemon["pid"] == (box.outside(main) if from_outside else main)
    assert not daemon["in_application_unit"]
    assert main in box.listeners()
    assert box.names() == {"vic": node.port}
    assert box.holders() == {node.pid}
    return str(daemon["unit"])


@pytest.mark.parametrize("place", ["inside", "outside"])
def test_the_unit_of_the_distribution_is_started(box: Systemd, node: UnitNode, place: str) -> None:
    lose(box)
    assert check_recovered(box, node, register(box, place, name="vic")) == "epmd.service"
    assert box.show("epmd.service", "ActiveState") == box.show("epmd.socket", "ActiveState") == "active"
    assert box.show("epmd.service", "User") == "epmd"
    assert box.units("beamops-*") == []
    assert not register(box, place, name="vic")["changed"]


@pytest.mark.usefixtures("node")
def test_check_mode_starts_nothing(box: Systemd) -> None:
    lose(box)
    result = register(box, check=True, name="vic")
    assert (result["changed"], only(result, "nodes")["registered"]) == (True, False)
    assert not box.listeners()
    assert box.show("epmd.service", "ActiveState") == box.show("epmd.socket", "ActiveState") == "inactive"


@pytest.mark.parametrize("mask", [UNITS, ["epmd.socket"], ["epmd.service"]], ids=["both", "socket", "service"])
def test_a_masked_unit_is_not_started(box: Systemd, node: UnitNode, mask: Sequence[str]) -> None:
    """The epmd of the node's own installation is, as the node's user, in a unit of its own."""
    lose(box, mask=mask)
    result = register(box, name="vic")
    assert TRANSIENT.fullmatch(check_recovered(box, node, result))
    assert only(result, "daemons")["user"] == "ejabberd"
    assert [box.show(each, "UnitFileState") for each in UNITS if each in mask] == ["masked"] * len(mask)
    assert box.show("epmd.service", "ActiveState") == box.show("epmd.socket", "ActiveState") == "inactive"


def test_an_epmd_in_a_unit_of_its_own_has_the_environment_of_the_node(box: Systemd) -> None:
    with box.node("vic", COOKIE, properties=["Environment=ERL_EPMD_ADDRESS=127.0.0.1"]) as node:
        lose(box, mask=UNITS)
        result = register(box, name="vic")
        assert TRANSIENT.fullmatch(check_recovered(box, node, result))
        assert only(result, "daemons")["addresses"] == ["127.0.0.1", "::1"]


def test_a_masked_unit_is_not_started_from_outside(box: Systemd, node: UnitNode) -> None:
    lose(box, mask=UNITS)
    result = register(box, "outside", name="vic")
    unit = check_recovered(box, node, result)
    assert TRANSIENT.fullmatch(unit)
    assert box.owner(int(box.show(unit, "MainPID"))) == "ejabberd"
    assert box.show(unit, "ActiveState") == "active"  # of the host's own systemd
    assert only(result, "daemons")["user"] == only(result, "nodes")["user"] == "ejabberd"


def test_a_disabled_unit_is_not_started_and_can_be_started_later(box: Systemd, node: UnitNode) -> None:
    lose(box)
    box.systemctl("disable", *UNITS)
    result = register(box, name="vic")
    unit = check_recovered(box, node, result)
    assert TRANSIENT.fullmatch(unit)
    assert f"it ends when epmd.socket or epmd.service is started, or with systemctl stop {unit}" in str(result["nodes"])
    assert enabled(box) == ["disabled", "disabled"]
    box.systemctl("start", "epmd.socket")
    assert box.units("beamops-*") == []
    assert 1 in box.listeners()


NARROW = "Environment=ERL_EPMD_ADDRESS=127.0.0.1"


@pytest.mark.parametrize("state", ["enabled", "disabled"])
def test_epmd_listens_no_wider_than_that_of_the_node(box: Systemd, saw: Saw, release: int, state: str) -> None:
    box.systemctl("stop", *UNITS)
    if state == "disabled":
        box.systemctl("disable", *UNITS)
    with box.node("vic", COOKIE, properties=[NARROW]) as node:
        box.run("pkill", "--exact", "--uid", "ejabberd", "epmd")
        wait_until(lambda: not box.listeners(), "the end of epmd")
        result = register(box, name="vic")
        assert TRANSIENT.fullmatch(check_recovered(box, node, result))
        assert only(result, "daemons")["addresses"] == ["127.0.0.1", "::1"]
        assert not box.units("epmd.socket") or box.show("epmd.socket", "ActiveState") == "inactive"
        kind = "with ERL_EPMD_ADDRESS=127.0.0.1, beside a unit of epmd that listens everywhere"
        saw(kind, release, "epmd_down, an epmd on loopback alone is started, registered again")


def test_a_start_limit_is_lifted(box: Systemd, node: UnitNode) -> None:
    drop_in(box, "epmd.service", "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=2\n")
    for _attempt in range(4):
        box.completed(["systemctl", "restart", "epmd.service"])
    assert box.show("epmd.socket", "Result") == "service-start-limit-hit"
    assert box.completed(["systemctl", "start", "epmd.service"]).returncode != 0
    wait_until(lambda: not box.holders(), "the node to notice that its epmd is gone")
    assert check_recovered(box, node, register(box, name="vic")) == "epmd.service"


def test_a_socket_that_was_bound_to_one_address(box: Systemd, node: UnitNode) -> None:
    lose(box)
    drop_in(box, "epmd.socket", "[Socket]\nListenStream=\nListenStream=127.0.0.1:4369\n")
    result = register(box, name="vic")
    assert check_recovered(box, node, result) == "epmd.service"
    assert only(result, "daemons")["addresses"] == ["127.0.0.1"]


def test_a_socket_on_another_port_is_not_used(box: Systemd, node: UnitNode) -> None:
    lose(box)
    drop_in(box, "epmd.socket", "[Socket]\nListenStream=\nListenStream=14369\n")
    assert TRANSIENT.fullmatch(check_recovered(box, node, register(box, name="vic")))
    assert box.show("epmd.socket", "ActiveState") == "inactive"


@pytest.mark.usefixtures("node")
def test_a_unit_that_does_not_start_names_its_log(box: Systemd) -> None:
    lose(box)
    words = "no epmd today"
    command = f"/bin/sh -c 'echo {words} >&2; exit 7'"
    drop_in(box, "epmd.service", f"[Service]\nExecStart=\nExecStart={command}\n")
    begin = time.monotonic()
    result = register(box, name="vic", timeout=20)
    assert time.monotonic() - begin < 10
    assert (result["failed"], result["changed"], result["reason"]) == (True, False, "epmd_not_started")
    assert words in result["msg"]
    assert "see journalctl -u epmd.service" in result["msg"]
    assert (only(result, "nodes")["registered"], only(result, "daemons")["started"]) == (False, False)
    assert not box.listeners()
    assert box.show("epmd.socket", "ActiveState") == "inactive"


@pytest.mark.parametrize(
    ("kind", "words"),
    [("address", "Cannot assign requested address"), ("program", "Permission denied")],
)
def test_an_epmd_that_does_not_start_says_why(box: Systemd, kind: str, words: str) -> None:
    box.systemctl("stop", *UNITS)
    box.systemctl("mask", *UNITS)
    box.run("ip", "address", "add", "10.1.2.3/32", "dev", "lo")
    properties = ["Environment=ERL_EPMD_ADDRESS=10.1.2.3"] if kind == "address" else []
    programs = sorted(set(box.run("sh", "-c", "readlink -f /usr/bin/epmd /usr/lib/erlang/erts-*/bin/epmd").split()))
    try:
        with box.node("vic", COOKIE, properties=properties):
            box.run("pkill", "--exact", "--uid", "ejabberd", "epmd")
            wait_until(lambda: not box.listeners(), "the end of epmd")
            box.run("ip", "address", "delete", "10.1.2.3/32", "dev", "lo")
            if kind == "program":
                box.run("mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", "/mnt")
                for path in programs:
                    box.run("sh", "-c", f"cp {path} /mnt/epmd; mount --bind /mnt/epmd {path}")
            begin = time.monotonic()
            result = register(box, name="vic", timeout=20)
            assert time.monotonic() - begin < 10
            assert (result["failed"], result["changed"], result["reason"]) == (True, False, "epmd_not_started")
            assert words in result["msg"], result["msg"]
            assert not box.listeners()
            assert box.units("beamops-*") == []
    finally:
        box.completed(["ip", "address", "delete", "10.1.2.3/32", "dev", "lo"])
        if kind == "program":
            box.completed(["sh", "-c", f"umount {' '.join(programs)} /mnt"])


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_unit_of_epmd_with_another_name(box: Systemd, saw: Saw, release: int, is_enabled: bool) -> None:
    box.systemctl("stop", *UNITS)
    box.systemctl("mask", *UNITS)
    name = "rabbitmq-epmd.service"
    try:
        box.write(
            f"/run/systemd/system/{name}",
            "[Service]\nExecStart=/usr/bin/epmd\nUser=rabbitmq\n[Install]\nWantedBy=multi-user.target\n",
        )
        box.systemctl("daemon-reload")
        if is_enabled:
            box.systemctl("enable", "--runtime", name)
        box.systemctl("start", name)
        with box.node("vic", COOKIE) as node:
            assert not only(facts(box), "daemons")["in_application_unit"]
            box.systemctl("stop", name)
            wait_until(lambda: not box.holders(), "the node to notice that its epmd is gone")
            unit = check_recovered(box, node, register(box, name="vic"))
            assert unit == name if is_enabled else TRANSIENT.fullmatch(unit)
            box.systemctl("start", name)
            assert box.units("beamops-*") == []
            assert box.show(name, "ActiveState") == "active"
            what = "that unit is started" if is_enabled else "a transient unit makes room for it later"
            state = "enabled" if is_enabled else "disabled"
            saw(f"beside rabbitmq-epmd.service, {state} and stopped", release, f"epmd_down, {what}, registered again")
    finally:
        box.completed(["systemctl", "disable", "--runtime", name])
        box.completed(["systemctl", "stop", name])
        box.run("rm", "-f", f"/run/systemd/system/{name}")
        box.systemctl("daemon-reload")


@pytest.mark.parametrize("is_masked", [False, True])
def test_an_epmd_that_systemd_starts_when_it_is_asked_is_not_started_by_a_look(box: Systemd, is_masked: bool) -> None:
    box.systemctl("stop", "epmd.service")
    if is_masked:
        box.systemctl("mask", "epmd.service")
    assert box.listeners() == {1}
    daemon = only(facts(box), "daemons")
    assert (daemon["state"], daemon["pid"], daemon["names"]) == ("down", None, None)
    assert "systemd listens on its port" in daemon["msg"]
    assert box.listeners() == {1}
    assert box.show("epmd.service", "ActiveState") == "inactive"


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("address", ["127.0.0.2", "[::1]"])
def test_an_epmd_at_another_address(box: Systemd, address: str) -> None:
    lose(box)
    drop_in(box, "epmd.socket", f"[Socket]\nListenStream=\nListenStream={address}:4369\n")
    box.systemctl("start", "epmd.service")
    begin = time.monotonic()
    result = register(box, name="vic", timeout=20)
    assert time.monotonic() - begin < 10
    assert (result["failed"], result["changed"], result["reason"]) == (True, False, "epmd_unresponsive")
    assert only(result, "nodes")["verdict"] == "epmd_unresponsive"
    pid = int(box.show("epmd.service", "MainPID"))
    for words in (f"pid {pid} of user epmd", "in epmd.service", address.strip("[]"), "asks 127.0.0.1 port 4369"):
        assert words in result["msg"], result["msg"]
    daemon = only(result, "daemons")
    assert (daemon["pid"], daemon["unit"], daemon["addresses"]) == (pid, "epmd.service", [address.strip("[]")])
    assert (daemon["started"], daemon["state"]) == (False, "mute")
    assert box.units("beamops-*") == []


@pytest.mark.parametrize("has_unit", [True, False])
def test_a_node_in_a_container_with_the_network_of_the_host(
    box: Systemd, saw: Saw, release: int, has_unit: bool
) -> None:
    """It starts no epmd itself: that of the host is the right one, and is not started in the container."""
    container = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    arguments = ["-start_epmd", "false"]
    with box.node("vic", COOKIE, user="root", within=container, args=arguments) as node:
        before = box.life(node)
        lose(box)
        if has_unit:
            assert check_recovered(box, node, register(box, name="vic")) == "epmd.service"
        else:
            box.systemctl("disable", *UNITS)
            result = register(box, name="vic")
            assert (result["failed"], result["changed"], result["reason"]) == (True, False, "epmd_not_started")
            assert "the host has no enabled systemd unit for it: start the epmd of the host" in result["msg"]
            assert not box.listeners()
        assert box.life(node) == before
        there = "beside the host's unit" if has_unit else "without a unit on the host"
        kind = f"in a container with the host's network, -start_epmd false, {there}"
        what = "the host's unit is started, registered again" if has_unit else "fails: start the epmd of the host"
        saw(kind, release, f"epmd_down, {what}")


@pytest.mark.parametrize("scope", [f"docker-{'0f' * 32}.scope", "cri-containerd-0f.scope", "libpod-0f.scope"])
def test_an_epmd_of_a_container_with_the_network_of_the_host(box: Systemd, scope: str) -> None:
    box.systemctl("stop", *UNITS)
    box.run("systemd-run", "--quiet", "--scope", f"--unit={scope}", "epmd", "-daemon")
    daemon = only(facts(box), "daemons")
    box.systemctl("stop", scope)
    assert (daemon["unit"], daemon["in_application_unit"]) == (scope, True)


def test_epmd_was_killed_and_its_socket_listens_on(box: Systemd, node: UnitNode) -> None:
    """The first question starts it again: the node's own, in newer releases, or ours."""
    killed = box.show("epmd.service", "MainPID")
    box.systemctl("kill", "--signal=KILL", "epmd.service")
    wait_until(lambda: box.show("epmd.service", "MainPID") != killed, "the end of epmd")
    result = register(box, name="vic")
    assert only(result, "nodes")["registered"], result
    assert only(result, "daemons")["unit"] == "epmd.service"
    assert box.names() == {"vic": node.port}
    assert box.holders() == {node.pid}


@pytest.mark.usefixtures("node")
def test_the_user_of_the_node_may_not_start_a_unit(box: Systemd) -> None:
    lose(box)
    result = register(box, user="ejabberd", name="vic")
    assert (result["failed"], result["changed"], result["reason"]) == (True, False, "epmd_not_started")
    assert "Access denied; run with become" in result["msg"]
    assert not box.listeners()


@pytest.mark.parametrize("mask", [(), UNITS], ids=["unit", "transient"])
def test_epmd_outlives_the_login(box: Systemd, node: UnitNode, mask: Sequence[str]) -> None:
    """An administrator logs in, becomes root, runs the module and logs out."""
    lose(box, mask=mask)
    result = register(box, login="admin", name="vic")
    wait_until(lambda: not box.logins(), "the login to end")
    unit = check_recovered(box, node, result)
    assert TRANSIENT.fullmatch(unit) if mask else unit == "epmd.service"


def test_without_root_epmd_ends_with_the_login(box: Systemd, node: UnitNode) -> None:
    lose(box, mask=UNITS)
    result = register(box, login="ejabberd", user="ejabberd", name="vic")
    daemon = only(result, "daemons")
    assert (daemon["started"], daemon["names"]) == (True, {"vic": node.port})
    assert re.fullmatch(r"session-\w+\.scope", daemon["unit"])
    assert daemon["in_application_unit"]
    (warning,) = result["warnings"]
    assert "may end with it" in str(warning)
    wait_until(lambda: not box.logins(), "the login to end")
    assert not box.listeners()


def test_an_epmd_of_an_application(box: Systemd) -> None:
    """It ends when the application is restarted, and with it the names of other nodes. The next one lives elsewhere."""
    # A restart goes no further than this while there is a gate.
    waits = "ExecStartPre=/bin/sh -c 'if [ -p /run/gate ]; then read -r _ </run/gate; fi'"
    box.systemctl("stop", *UNITS)
    with box.node("app", COOKIE, properties=[waits]) as app, box.node("vic", COOKIE, user="rabbitmq") as node:
        daemon = only(facts(box), "daemons")
        assert (daemon["unit"], daemon["in_application_unit"]) == ("app.service", True)
        assert daemon["names"] == {"app": app.port, "vic": node.port}
        before = box.life(node)

        box.run("mkfifo", "/run/gate")
        box.systemctl("restart", "--no-block", "app.service")
        wait_until(lambda: box.show("app.service", "SubState") == "start-pre", "the application to be restarted")
        assert not box.listeners()
        assert check_recovered(box, node, register(box, name="vic")) == "epmd.service"

        box.run("sh", "-c", "echo >/run/gate; rm /run/gate")
        box.systemctl("start", "app.service")  # waits for the restart
        assert box.names() == {"app": box.node_in("app.service").port, "vic": node.port}
        box.systemctl("restart", "app.service")
        assert box.names() == {"app": box.node_in("app.service").port, "vic": node.port}
        daemon = only(facts(box), "daemons")
        assert (daemon["unit"], daemon["in_application_unit"]) == ("epmd.service", False)
        assert box.life(node) == before


@pytest.mark.parametrize("place", ["inside", "outside"])
def test_a_node_with_a_private_network(box: Systemd, saw: Saw, release: int, place: str) -> None:
    with box.node("vic", COOKIE, properties=["PrivateNetwork=yes"]) as node:
        network = ["nsenter", f"--net=/proc/{node.pid}/ns/net"]
        before = box.life(node)
        assert (box.names(), box.names(*network)) == ({}, {"vic": node.port})
        box.run("pkill", "--exact", "--uid", "ejabberd", "epmd")
        wait_until(lambda: not box.names(*network), "the end of epmd")

        result = register(box, place, name="vic")
        assert result["changed"], result
        found, daemon = only(result, "nodes"), only(result, "daemons")
        assert (found["verdict"], found["registered"]) == ("epmd_down", True)
        assert found["namespace"] == daemon["namespace"] == box.network(node.pid)
        assert not daemon["in_application_unit"]
        assert TRANSIENT.fullmatch(daemon["unit"])
        pid = int(box.show(daemon["unit"], "MainPID"))
        assert box.owner(pid) == "ejabberd"
        assert box.network(pid) == box.network(node.pid) != box.network(1)
        assert (box.names(), box.names(*network)) == ({}, {"vic": node.port})
        assert box.life(node) == before
        assert not register(box, place, name="vic")["changed"]
        if place == "outside":
            kind = "with PrivateNetwork= in a container that has a systemd of its own"
            saw(kind, release, "epmd_down, registered again inside")


def test_a_scratch_node_outlives_the_login_that_starts_it_and_leaves_no_unit(box: Systemd, node: UnitNode) -> None:
    """Each module runs in a unit, whose end ends what is in it."""

    def scratch(**options: Any) -> dict[str, Any]:
        return box.module("epmd_scratch", name="rehearse", timeout=60, **options)

    started = scratch(like_nodes=True)
    try:
        (found,) = started["scratch_nodes"]
        assert (found["user"], found["like"], found["reason"]) == ("ejabberd", [f"vic@{box.name}"], ""), started
        assert [unit.partition("-")[2].rpartition("-")[0] for unit in sorted(box.units("beamops-*"))] == [
            f"epmd-{found['epmd_port']}",
            "scratch",
        ]
        assert scratch(state="lost")["changed"]
        done = register(box, name=[found["name"]])
        assert (only(done, "nodes")["registered"], only(done, "daemons")["user"]) == (True, "ejabberd"), done
    finally:
        ended = scratch(state="absent")
    assert found["pid"] in ended["ended"]
    wait_until(lambda: not box.units("beamops-*"), "its units to go")
    assert box.names() == {"vic": node.port}
