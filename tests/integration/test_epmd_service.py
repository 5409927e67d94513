# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An epmd that gets a unit of its own under running nodes, on a host with a real systemd and Debian's units for epmd.

The host is booted once for each release. Each test leaves it as it was.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, EVERY_RELEASE, RELEASES, run_ansible
from ansible_collections.beamops.epmd.tests.lab import (
    LabError,
    Systemd,
    UnitNode,
    run_payload,
    system,
    wait_until,
)

BOOTED = {int(release) for release in os.environ.get("BEAMOPS_BOOTED", "").split()} or set(RELEASES)

UNITS = ("epmd.socket", "epmd.service")

PUT_BACK = """
systemctl --quiet stop 'beamops-epmd-*' epmd.socket epmd.service
while pkill --signal KILL --exact epmd; do sleep 0.1; done
rm -rf /etc/systemd/system/epmd.* /etc/systemd/system/*.wants/epmd.* /run/systemd/system/epmd.* /run/beamops-epmd-*
systemctl --quiet unmask epmd.socket epmd.service
systemctl --quiet enable epmd.socket epmd.service
systemctl daemon-reload
systemctl reset-failed
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With OTP 23, which never comes back by itself; in `make test-all` also with the others that are booted.

    What is Ansible's runs with the newest of these.
    """
    releases = sorted({23, *BOOTED} & set(RELEASES))
    if "play" in metafunc.fixturenames:
        releases = releases[-1:]
    elif not EVERY_RELEASE:
        releases = releases[:1]
    if "host" in metafunc.fixturenames:
        metafunc.parametrize("host", releases, indirect=True, ids=lambda release: f"otp{release}", scope="module")


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[Systemd]:
    """The host."""
    with Systemd(system(request.param)) as running:
        running.run("sh", "-e", "-c", PUT_BACK)
        yield running


@pytest.fixture
def box(host: Systemd) -> Iterator[Systemd]:
    """The host, with no epmd, and as it was after the test."""
    yield host
    host.run("sh", "-e", "-c", PUT_BACK)
    assert not host.listeners()


class Crowd:
    """An application with epmd in its cgroup, and a node of somebody else that is connected to another one."""

    def __init__(self, box: Systemd, app: UnitNode, vic: UnitNode, client: UnitNode) -> None:
        self.box = box
        self.is_restarted = False
        self.app, self.vic, self.client = app, vic, client
        self.nodes = (app, vic, client)
        self.table = {"app": app.port, "vic": vic.port, "client": client.port}

    def lives(self) -> list[Any]:
        """What must not change of the nodes, except of the application where that was restarted."""
        return [self.box.life(node) for node in (self.app, self.vic, self.client)[1 if self.is_restarted else 0 :]]

    @contextlib.contextmanager
    def app_is_restarted(self) -> Iterator[None]:
        """Restart the application; while it is down, the block runs."""
        self.is_restarted = True
        self.box.run("mkfifo", "/run/gate")
        self.box.systemctl("restart", "--no-block", "app.service")
        wait_until(lambda: self.box.show("app.service", "SubState") == "start-pre", "the application to be restarted")
        yield
        self.box.run("sh", "-c", "echo >/run/gate; rm /run/gate")
        self.box.systemctl("start", "app.service")  # waits for the restart


CONNECT = 'net_kernel:connect_node(list_to_atom("vic@" ++ tl(string:find(atom_to_list(node()), "@"))))'
WATCH = (
    "spawn(fun() -> net_kernel:monitor_nodes(true), true = %s, "
    'receive {nodedown, N} -> os:cmd("echo down >/tmp/down") end end).'
)

GATE = "ExecStartPre=/bin/sh -c 'if [ -p /run/gate ]; then read -r _ </run/gate; fi'"
"""A restart goes no further than this while there is a gate."""


@pytest.fixture
def crowd(box: Systemd) -> Iterator[Crowd]:
    """`app` has started epmd; `client` is connected to `vic`, and would tell if it lost that connection."""
    watch = ["-eval", WATCH % CONNECT]
    with contextlib.ExitStack() as stack:
        app = stack.enter_context(box.node("app", COOKIE, properties=[GATE]))
        vic = stack.enter_context(box.node("vic", COOKIE, user="rabbitmq"))
        client = stack.enter_context(box.node("client", COOKIE, user="rabbitmq", args=watch))
        found = Crowd(box, app, vic, client)
        assert box.names() == found.table
        before = found.lives()
        yield found
        lives = found.lives()
        assert lives == before[-len(lives) :]
        assert box.completed(["test", "-e", "/tmp/down"]).returncode != 0


def restart(box: Systemd, **options: Any) -> dict[str, Any]:
    """The result of `epmd_restart`."""
    result = box.module("epmd_restart", **options)
    assert COOKIE not in str(result)
    return result


def daemon(box: Systemd) -> dict[str, Any]:
    """The only epmd, by `epmd_facts`."""
    (found,) = box.module("epmd_facts")["ansible_facts"]["epmd"]["daemons"]
    return dict(found)


class Played(NamedTuple):
    """What a playbook printed, and whether it has changed the host."""

    output: str
    changed: bool


class Play:
    """`ansible-playbook` against the host, with extra variables as keywords."""

    def __init__(self, box: Systemd, directory: Path) -> None:
        self._directory = directory
        self._hosts = directory / "hosts.ini"
        variables = "".join(f"{key}={value}\n" for key, value in box.reached_from(directory).items())
        # The same host twice, for what goes host by host.
        self._hosts.write_text(f"box\nother\n[all:vars]\n{variables}")

    def __call__(self, playbook: str, *flags: str, fails: bool = False, **extra: Any) -> Played:
        command = ["ansible-playbook", "-i", str(self._hosts), playbook, *flags, "-e", json.dumps(extra)]
        run = run_ansible(command, self._directory, None)
        output = run.stdout + run.stderr
        assert (run.returncode != 0) == fails, output
        return Played(re.sub(r"\s+", " ", output), not re.search(r"^box .* changed=0 ", run.stdout, re.MULTILINE))


@pytest.fixture
def play(box: Systemd, tmp_path: Path) -> Play:
    """The role and the playbooks."""
    return Play(box, tmp_path)


Role = Callable[..., Played]

ROLE = """
- name: Give epmd a unit of its own
  hosts: box
  gather_facts: false
  roles:
    - role: beamops.epmd.epmd_service
"""


@pytest.fixture
def role(play: Play, tmp_path: Path) -> Role:
    """A playbook with the role alone."""
    playbook = tmp_path / "role.yml"
    playbook.write_text(ROLE)
    return functools.partial(play, str(playbook))


def check_handed_over(box: Systemd, crowd: Crowd, result: dict[str, Any]) -> None:
    """Every name is where it was, at an epmd in its own unit."""
    assert result["changed"], result
    assert result["before"] == result["after"] == box.names() == crowd.table
    assert set(result["gap_ms"]) == set(crowd.table)
    assert result["lost"] == []
    assert box.holders() == {node.pid for node in crowd.nodes}
    found = daemon(box)
    assert (found["unit"], found["in_application_unit"], found["user"]) == ("epmd.service", False, "epmd")


def check_untouched(box: Systemd, crowd: Crowd, result: dict[str, Any], reason: str, *words: str) -> None:
    """It failed before anything was changed, and says why."""
    assert (result["failed"], result.get("changed", False), result["reason"]) == (True, False, reason), result
    for each in (*words, "was not touched"):
        assert each in result["msg"], result["msg"]
    assert daemon(box)["unit"] == "app.service"
    assert crowd.table.items() <= box.names().items()


def test_an_epmd_of_an_application_gets_its_own_unit(box: Systemd, crowd: Crowd) -> None:
    """The next restart of that application is its own affair: nobody else's name goes with it."""
    found = daemon(box)
    assert (found["unit"], found["in_application_unit"]) == ("app.service", True)
    assert "beamops.epmd.epmd_service" in found["msg"]
    predicted = restart(box, check=True)
    assert (predicted["changed"], predicted["after"], daemon(box)["pid"]) == (True, crowd.table, found["pid"])
    check_handed_over(box, crowd, restart(box))
    pid = daemon(box)["pid"]
    again = restart(box)
    assert (again["changed"], daemon(box)["pid"]) == (False, pid)
    demanded = restart(box, state="restarted")
    check_handed_over(box, crowd, demanded)
    assert daemon(box)["pid"] != pid

    others = {name: crowd.table[name] for name in ("vic", "client")}
    with crowd.app_is_restarted():
        assert others.items() <= box.names().items()
    assert box.names() == {**others, "app": box.node_in("app.service").port}


def test_a_restart_of_the_application_loses_all_names_without_it(box: Systemd, crowd: Crowd) -> None:
    """As long as its unit is stopped, even newer nodes have nobody to register with."""
    with crowd.app_is_restarted():
        assert box.names() == {}


SQUATTER = """
import socket, struct, time
body = b"x" + struct.pack(">HBBHH", 35001, 77, 0, 6, 5) + struct.pack(">H", 8) + b"a_c_node" + b"\\0\\0"
epmd = socket.create_connection(("127.0.0.1", 4369))
epmd.sendall(struct.pack(">H", len(body)) + body)
assert epmd.recv(4)[1] == 0
time.sleep(600)
"""


@contextlib.contextmanager
def c_node(box: Systemd) -> Iterator[None]:
    """A process that registers at epmd as a C node does: once, when it is started."""
    try:
        box.run("systemd-run", "--quiet", "--unit=c-node", "python3", "-c", SQUATTER.replace("\\\\", "\\"))
        wait_until(lambda: "a_c_node" in box.names(), "the C node to be registered")
        yield
    finally:
        box.completed(["systemctl", "stop", "c-node"])
        box.completed(["systemctl", "reset-failed", "c-node"])


def test_a_c_node_stops_it_unless_its_name_may_be_lost(box: Systemd, crowd: Crowd) -> None:
    with c_node(box):
        words = ("1 of its names would be lost", "a_c_node: port 35001", "give allow_lost=a_c_node")
        check_untouched(box, crowd, restart(box), "would_lose", *words)
        check_untouched(box, crowd, restart(box, check=True), "would_lose", *words)
        result = restart(box, allow_lost=["a_c_node"])
        assert (result["after"], result["lost"]) == (crowd.table, ["a_c_node"])
        assert "a_c_node" in str(result["warnings"])
        assert daemon(box)["unit"] == "epmd.service"


def test_a_node_that_refuses_its_cookie_stops_it(box: Systemd, crowd: Crowd) -> None:
    """Its cookie was changed while it ran, so that it could not be asked to register again."""
    changed = ["-eval", "erlang:set_cookie(node(), another_cookie)."]
    with box.node("odd", COOKIE, args=changed) as odd:
        before = box.life(odd)
        result = restart(box)
        check_untouched(box, crowd, result, "would_lose", "odd: it refused the cookie")
        assert daemon(box)["names"] == {**crowd.table, "odd": odd.port}
        assert box.life(odd)[:2] == before[:2]


def test_an_epmd_that_does_not_start_is_replaced_by_the_old_one(box: Systemd, crowd: Crowd) -> None:
    box.write("/run/systemd/system/epmd.service.d/test.conf", "[Service]\nUser=nobody-of-this-name\n")
    user = box.owner(daemon(box)["pid"])
    result = restart(box)
    assert (result["failed"], result["reason"], result["after"]) == (True, "epmd_not_started", crowd.table), result
    assert (
        "the old epmd was started again with the program and the addresses it had, with all its names" in result["msg"]
    )
    assert box.names() == crowd.table
    found = daemon(box)
    assert found["unit"].startswith("beamops-epmd-4369-")
    assert box.owner(found["pid"]) == user
    box.run("rm", "-r", "/run/systemd/system/epmd.service.d")
    check_handed_over(box, crowd, restart(box))
    assert box.units("beamops-*") == []


def test_a_changed_unit_is_taken_over_and_a_broken_one_is_not(box: Systemd, crowd: Crowd) -> None:
    restart(box)
    box.write("/etc/systemd/system/epmd.socket.d/test.conf", "[Socket]\nListenStream=\nListenStream=127.0.0.1:4369\n")
    check_handed_over(box, crowd, restart(box))
    assert daemon(box)["addresses"] == ["127.0.0.1"]
    assert not restart(box)["changed"]
    box.write("/etc/systemd/system/epmd.service.d/test.conf", "[Service]\nUser=nobody-of-this-name\n")
    result = restart(box)
    assert (result["failed"], result["reason"], result["after"]) == (True, "epmd_not_started", crowd.table), result
    assert box.names() == crowd.table
    assert "127.0.0.1" in daemon(box)["addresses"]
    assert "0.0.0.0" not in daemon(box)["addresses"]


def test_a_run_that_is_killed_is_made_good_by_the_next(box: Systemd, crowd: Crowd) -> None:
    """Wherever it was: from the look to the proof."""
    for tenths in range(3, 13, 2):
        killed = ["timeout", "--signal=KILL", str(tenths / 10)]
        with contextlib.suppress(LabError):
            run_payload("epmd_restart", {"state": "restarted"}, within=box.command(killed), python="python3")
        result = restart(box)
        assert not result.get("failed"), result
        assert box.names() == crowd.table
        assert daemon(box)["unit"] == "epmd.service"


def test_a_run_that_was_killed_between_the_two_epmds(box: Systemd, crowd: Crowd) -> None:
    box.run("kill", "-KILL", str(daemon(box)["pid"]))
    wait_until(lambda: not box.holders(), "the nodes to notice that their epmd is gone")
    result = restart(box)
    assert (result["changed"], result["before"], result["after"]) == (True, {}, crowd.table), result
    assert box.names() == crowd.table
    assert daemon(box)["unit"] == "epmd.service"


# While there is no epmd, a node starts one of its own, once.
INTRUDER = """[Socket]
ExecStartPre=/bin/sh -c 'mkdir /run/once || exit 0; systemd-run --unit=late --property=KillSignal=SIGKILL \
    erl -noinput -sname late -setcookie {cookie}; until epmd -names | grep late; do sleep 0.1; done'
"""


def test_a_node_that_starts_in_between(box: Systemd, crowd: Crowd) -> None:
    """It starts an epmd, which has to go, too, and is registered with the others."""
    box.write("/run/systemd/system/epmd.socket.d/test.conf", INTRUDER.format(cookie=COOKIE))
    try:
        result = restart(box, timeout=20)
        late = {"late": box.node_in("late.service").port}
        assert (result["changed"], result["before"]) == (True, crowd.table), result
        assert result["after"] == box.names() == {**crowd.table, **late}
        assert daemon(box)["unit"] == "epmd.service"
        assert "late" not in result["gap_ms"]
    finally:
        box.completed(["systemctl", "stop", "late.service"])
        box.run("rm", "-rf", "/run/once", "/run/systemd/system/epmd.socket.d")
        box.systemctl("daemon-reload")


def test_two_runs_at_once(box: Systemd, crowd: Crowd) -> None:
    """The second one waits for the first, or says that there is one."""
    with ThreadPoolExecutor(2) as both:
        results = list(both.map(lambda _number: restart(box, state="restarted", timeout=20), range(2)))
    for result in results:
        assert (result["changed"], result["after"]) == (True, crowd.table), result
    box.run("systemd-run", "--quiet", "--unit=other", "flock", "/run/beamops-epmd-4369.lock", "sleep", "600")
    try:
        wait_until(lambda: box.completed(["flock", "-n", "/run/beamops-epmd-4369.lock", "true"]).returncode, "the lock")
        result = restart(box, timeout=1)
        assert (result["failed"], result["reason"]) == (True, "busy")
    finally:
        box.systemctl("stop", "other")


def test_the_role(box: Systemd, crowd: Crowd, role: Role) -> None:
    """Check mode says what is done, the first run changes the owner and not the reach.

    That a second one changes nothing, molecule sees as well.
    """
    before = daemon(box)
    predicted = role("--check", "--diff")
    assert predicted.changed, predicted.output
    assert "would be handed over to epmd.service" in predicted.output
    assert daemon(box) == before
    assert box.completed(["ls", "/etc/systemd/system/epmd.service.d"]).returncode != 0
    done = role("--diff")
    assert "+Restart=on-failure" in done.output
    assert "-epmd on port 4369 in app.service at 0.0.0.0, ::" in done.output
    assert "+epmd on port 4369 in epmd.service at 0.0.0.0, ::" in done.output
    assert box.names() == crowd.table
    found = daemon(box)
    assert (found["unit"], found["addresses"]) == ("epmd.service", ["::"])

    killed = found["pid"]
    box.run("kill", "-KILL", str(killed))
    wait_until(lambda: box.show("epmd.service", "MainPID") not in ("0", str(killed)), "epmd to be started again")
    restart(box)
    assert box.names() == crowd.table

    bound = role("--diff", epmd_service_listen=["127.0.0.1"])
    assert bound.changed, bound.output
    assert daemon(box)["addresses"] == ["127.0.0.1", "::1"]
    listening = box.run("ss", "--no-header", "-ltn", "sport", "=", ":4369").split()
    assert {word for word in listening if word.endswith(":4369")} == {"127.0.0.1:4369", "[::1]:4369"}
    assert box.names() == crowd.table
    assert not role().changed  # what is listened on now stays


@pytest.mark.test_all
def test_the_role_without_units_of_the_distribution(box: Systemd, crowd: Crowd, role: Role) -> None:
    """Both are written; of an epmd that was built without systemd, a service alone."""
    folder = os.path.dirname(box.show("epmd.service", "FragmentPath"))
    box.run("sh", "-e", "-c", f"mkdir /tmp/kept; mv {folder}/epmd.* /tmp/kept; systemctl daemon-reload")
    box.write("/usr/local/bin/epmd", '#!/bin/sh\nexec /usr/bin/epmd "$@"\n')
    box.run("chmod", "+x", "/usr/local/bin/epmd")
    try:
        plain = {"epmd_service_program": "/usr/local/bin/epmd", "epmd_service_listen": ["127.0.0.1"]}
        done = role("--diff", **plain)
        assert "+ExecStart=/usr/local/bin/epmd +" in done.output
        assert box.names() == crowd.table
        found = daemon(box)
        assert (found["unit"], found["addresses"]) == ("epmd.service", ["127.0.0.1", "::1"])
        assert not role(**plain).changed
        done = role("--diff", epmd_service_user="rabbitmq")
        assert "+ExecStart=/usr/bin/epmd -systemd" in done.output
        assert box.names() == crowd.table
        found = daemon(box)
        assert (found["user"], found["addresses"]) == ("rabbitmq", ["127.0.0.1", "::1"])
        assert box.show("epmd.socket", "ActiveState") == "active"
        assert not role(epmd_service_user="rabbitmq").changed
    finally:
        box.run("sh", "-e", "-c", f"mv /tmp/kept/* {folder}; rm -r /tmp/kept /usr/local/bin/epmd")


@pytest.mark.test_all
def test_the_role_where_ipv6_is_switched_off(box: Systemd, role: Role) -> None:
    """A socket unit with an address of IPv6 starts all the same, and nothing is changed again and again."""
    box.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
    try:
        with box.node("app", COOKIE) as app:
            assert role().changed
            assert not role().changed
            assert role(epmd_service_listen=["127.0.0.1"]).changed
            assert "127.0.0.1" in daemon(box)["addresses"]
            assert "0.0.0.0" not in daemon(box)["addresses"]
            assert box.names() == {"app": app.port}
    finally:
        box.run("sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6")


def test_the_role_refuses_what_can_not_work(box: Systemd, role: Role) -> None:
    """In one sentence, and before anything is changed."""
    box.systemctl("mask", "epmd.service")
    assert "epmd.service is masked" in role(fails=True).output
    box.systemctl("unmask", "epmd.service")
    assert (
        "There is no user no-such-user here: nothing was changed"
        in role(fails=True, epmd_service_user="no-such-user").output
    )
    box.run("systemd-run", "--quiet", "--unit=web", "python3", "-m", "http.server", "4369")
    try:
        wait_until(box.listeners, "the other program")
        refused = role(fails=True, epmd_service_timeout=2)
        assert "Port 4369 is held by something that is no epmd in good health" in refused.output
    finally:
        box.systemctl("stop", "web")
    box.run("mount", "--bind", "/etc", "/etc")
    try:
        box.run("mount", "-o", "remount,bind,ro", "/etc")
        assert "/etc/systemd/system can't be written" in role(fails=True).output
    finally:
        box.run("umount", "/etc")
    box.run("mount", "-t", "tmpfs", "tmpfs", "/run/systemd")
    try:
        assert "systemd is not the init here" in role(fails=True).output
    finally:
        box.run("umount", "/run/systemd")
    assert box.completed(["ls", "/etc/systemd/system/epmd.service.d"]).returncode != 0


CLIENT = """
import socket
connection = socket.create_connection(("127.0.0.1", 5672))
connection.sendall(b"AMQP" + bytes([0, 0, 9, 1]))
while connection.recv(65536):
    pass
"""

# Under other names, since those of the packages are masked here; and as long as no unit of epmd was started for them.
REAL = """
for user in rabbitmq ejabberd; do
    printf %s {cookie} >/tmp/cookie
    install -o $user -g $user -m 400 /tmp/cookie /var/lib/$user/.erlang.cookie
done
rm /tmp/cookie
echo handshake_timeout = 600000 >/etc/rabbitmq/rabbitmq.conf
folder=$(dirname $(systemctl show --property=FragmentPath --value epmd.service))
for unit in rabbitmq-server ejabberd; do
    sed /epmd/d $folder/$unit.service >/run/systemd/system/real-$unit.service
done
systemctl daemon-reload
systemctl start real-rabbitmq-server
systemctl start real-ejabberd
"""


@pytest.mark.test_all
def test_real_rabbitmq_and_ejabberd(box: Systemd, role: Role) -> None:
    """RabbitMQ has started epmd. Afterwards it can be restarted, and ejabberd keeps its name. No client notices."""
    units = ["real-ejabberd", "real-rabbitmq-server"]
    try:
        box.run("sh", "-e", "-c", REAL.format(cookie=COOKIE))
        table = box.names()
        assert set(table) == {"rabbit", "ejabberd"}
        assert daemon(box)["unit"] == "real-rabbitmq-server.service"
        box.run("systemd-run", "--quiet", "--unit=client", "--service-type=exec", "python3", "-c", CLIENT)
        pids = [box.show(unit, "MainPID") for unit in units]
        done = role()
        assert "2 names (ejabberd, rabbit) put back" in done.output
        assert box.names() == table
        assert daemon(box)["unit"] == "epmd.service"
        assert pids == [box.show(unit, "MainPID") for unit in units]
        assert box.show("client", "ActiveState") == "active"
        box.systemctl("restart", "real-rabbitmq-server")
        assert box.names() == table
        assert box.show("real-ejabberd", "MainPID") == pids[0]
        box.run("rabbitmqctl", "status")
        box.run("ejabberdctl", "status")
    finally:
        box.completed(["systemctl", "stop", "client", *units])
        box.run("sh", "-c", "rm -f /run/systemd/system/real-*; systemctl daemon-reload; systemctl reset-failed")


def test_the_playbook(box: Systemd, crowd: Crowd, play: Play) -> None:
    """It stops before the next host where a host can't be brought back to its table."""
    bound = play("beamops.epmd.restart_epmd", epmd_service_listen=["127.0.0.1"])
    assert "was handed over to epmd.service; 3 names" in bound.output
    assert daemon(box)["addresses"] == ["127.0.0.1", "::1"]
    assert box.names() == crowd.table
    with c_node(box):
        stopped = play("beamops.epmd.restart_epmd", fails=True)
        assert "a_c_node: port 35001" in stopped.output
        assert "epmd was replaced on 0 of 2 hosts; 1 host failed, 1 was not begun" in stopped.output
        assert re.search(r"\bother - not begun\b", stopped.output)


def test_the_audit_says_that_an_epmd_can_die_with_somebody_else(box: Systemd, crowd: Crowd, play: Play) -> None:
    audit = play("beamops.epmd.audit", "--limit", "box")
    assert "epmd on port 4369" in audit.output
    assert "ends with app.service" in audit.output
    restart(box)
    assert "ends with" not in play("beamops.epmd.audit", "--limit", "box").output
    assert box.names() == crowd.table
