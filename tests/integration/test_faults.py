# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults of a host in trouble: the module's message and time for each, and that the next run repairs it.

`faults_table.py` writes what is seen here into faults.rst.

The module's own code runs in this process, so that a fault can happen at any point of it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._host import children, connections, cookies, files, owners
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import observe, repair, start_epmd
from ansible_collections.beamops.epmd.plugins.module_utils._steps.report import Outcome
from ansible_collections.beamops.epmd.plugins.module_utils._wire import erl_epmd
from ansible_collections.beamops.epmd.plugins.module_utils._wire.node import NodeConnection
from ansible_collections.beamops.epmd.tests.fakes import epmd_server
from ansible_collections.beamops.epmd.tests.integration.faults_table import Survived
from ansible_collections.beamops.epmd.tests.integration.support import (
    COOKIE,
    AdHoc,
    Register,
    life,
    lose,
    settle,
    squatted,
)
from ansible_collections.beamops.epmd.tests.lab import (
    Epmd,
    FakeServer,
    Handler,
    Node,
    Otp,
    Squatter,
    answer,
    cut_silently,
    epmd_at,
    exhausted,
    forget,
    hang,
    holders,
    listeners,
    misregister,
    unreachable,
    wait_until,
)

TIMEOUT = 5
MARGIN = 5
"""Seconds after the timeout. One is promised, and observed in faults.rst; a loaded machine takes longer."""


class Scene(NamedTuple):
    """A healthy node, and the means to make its faults."""

    otp: Otp
    epmd: Epmd
    node: Node
    monkeypatch: pytest.MonkeyPatch

    @property
    def heals(self) -> bool:
        """Whether a node of this release registers itself again as soon as there is an epmd."""
        return self.otp.release > 23


@pytest.fixture
def scene(otp: Otp, epmd: Epmd, node: Node, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(otp, epmd, node, monkeypatch)


class Trial(NamedTuple):
    """The outcome of one run, and the seconds that it took."""

    outcome: Outcome
    seconds: float


VIC = Options(["vic"], timeout=TIMEOUT)


def attempt(options: Options = VIC) -> Trial:
    """Run the module's code once."""
    begin = time.monotonic()
    outcome = ensure(options, Mode.REPAIR)
    seconds = time.monotonic() - begin
    assert "\n" not in outcome.msg
    assert COOKIE not in repr(outcome)
    assert seconds <= options.timeout + MARGIN, outcome.msg
    return Trial(outcome, seconds)


# The faults. Each lasts as long as its context.


@contextlib.contextmanager
def restarted(scene: Scene) -> Iterator[None]:
    forget(scene.epmd, scene.node)
    scene.epmd.start()
    if scene.heals:
        wait_until(scene.epmd.names, "the node to register itself")
    yield


@contextlib.contextmanager
def dead(scene: Scene) -> Iterator[None]:
    forget(scene.epmd, scene.node)
    yield


@contextlib.contextmanager
def stopped(scene: Scene) -> Iterator[None]:
    scene.epmd.suspend()
    yield
    scene.epmd.resume()


@contextlib.contextmanager
def on_another_port(scene: Scene) -> Iterator[None]:
    forget(scene.epmd, scene.node)
    with scene.otp.epmd() as other:
        yield
        assert other.names() == {}


def replaced_by(handler: Handler) -> Callable[[Scene], AbstractContextManager[None]]:
    @contextlib.contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        forget(scene.epmd, scene.node)
        with FakeServer(handler, port=scene.epmd.port):
            yield

    return fault


def elsewhere(address: str) -> Callable[[Scene], AbstractContextManager[None]]:
    """Epmd is restarted at an address that the node does not ask."""

    @contextlib.contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        forget(scene.epmd, scene.node)
        with epmd_at(scene.otp.bindir / "epmd", address, scene.epmd.port):
            yield

    return fault


@contextlib.contextmanager
def taken_elsewhere(scene: Scene) -> Iterator[None]:
    forget(scene.epmd, scene.node)
    with FakeServer(hang, scene.epmd.port, "127.0.0.2"):
        yield


@contextlib.contextmanager
def without_loopback(_scene: Scene) -> Iterator[None]:
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@contextlib.contextmanager
def without_descriptors(scene: Scene) -> Iterator[None]:
    with exhausted(scene.epmd):
        yield


@contextlib.contextmanager
def cut_off(scene: Scene) -> Iterator[None]:
    with unreachable(scene.epmd.port):
        yield


@contextlib.contextmanager
def silently_cut(scene: Scene) -> Iterator[None]:
    with cut_silently(scene.epmd, scene.node):
        yield


@contextlib.contextmanager
def mistyped(scene: Scene) -> Iterator[None]:
    misregister(scene.epmd, scene.node, "vic", 1234)
    yield


@contextlib.contextmanager
def squatted_with_its_port(scene: Scene) -> Iterator[None]:
    with squatted(scene.epmd, scene.node, scene.node.port):
        yield


@contextlib.contextmanager
def squatted_with_another(scene: Scene) -> Iterator[None]:
    with squatted(scene.epmd, scene.node, 4711):
        yield


@contextlib.contextmanager
def squatted_meanwhile(scene: Scene) -> Iterator[None]:
    """The name is free when the module asks for it, and taken when the node registers."""
    forget(scene.epmd, scene.node)
    with scene.otp.epmd() as real:
        answered: list[bytes] = []

        def handler(connection: socket.socket) -> None:
            request = connection.recv(4096)
            # The requests for the table and for this name.
            if len(answered) < 2:
                answered.append(request)
                is_table = request[2:3] == b"n"
                connection.sendall(epmd_server.names_reply({}) if is_table else epmd_server.NOT_REGISTERED)
                return
            with socket.create_connection(("127.0.0.1", real.port)) as upstream:
                upstream.sendall(request)
                upstream.shutdown(socket.SHUT_WR)
                while reply := upstream.recv(4096):
                    connection.sendall(reply)

        with Squatter(real.port, "vic", 4711), FakeServer(handler, port=scene.epmd.port):
            yield


@contextlib.contextmanager
def node_stopped(scene: Scene) -> Iterator[None]:
    """Stopped before its epmd was killed, so that it has not noticed that."""
    scene.node.suspend()
    scene.epmd.kill()
    scene.epmd.start()
    yield
    scene.node.resume()


@contextlib.contextmanager
def node_stopped_in_the_handshake(scene: Scene) -> Iterator[None]:
    lose(scene.epmd, scene.node)
    authenticate = NodeConnection.authenticate

    def late(connection: NodeConnection, cookie: bytes) -> None:
        scene.node.suspend()
        authenticate(connection, cookie)

    with scene.monkeypatch.context() as patch:
        patch.setattr(NodeConnection, "authenticate", late)
        yield
    scene.node.resume()
    settle(scene.node)


@contextlib.contextmanager
def rex_busy(scene: Scene) -> Iterator[None]:
    lose(scene.epmd, scene.node)
    scene.node.eval("sys:suspend(rex)")
    yield
    scene.node.eval("sys:resume(rex)")
    settle(scene.node)


class Fault(NamedTuple):
    """A fault: what makes it, the verdicts on OTP 23 and on newer ones, words of the message.

    reason: that of the failure, empty where the run succeeds.
    """

    happens: Callable[[Scene], AbstractContextManager[None]]
    verdicts: tuple[str, str]
    words: tuple[str, ...]
    reason: str = ""


LOST = ("missing", "epmd_down")
UNRESPONSIVE = "epmd_unresponsive"
GARBAGE = answer(b"\x00\x00\x11\x11name vic at port xyz\n")

FAULTS = {
    "epmd killed and started again": Fault(restarted, ("missing", "registered"), ()),
    "epmd dead": Fault(dead, ("epmd_down", "epmd_down"), ("vic",)),
    "epmd stopped (SIGSTOP)": Fault(
        stopped, (UNRESPONSIVE, UNRESPONSIVE), ("no answer within", "belongs to pid"), UNRESPONSIVE
    ),
    "epmd restarted on another port": Fault(on_another_port, ("epmd_down", "epmd_down"), ("vic",)),
    "epmd replaced by a program that accepts and stays silent": Fault(
        replaced_by(hang), (UNRESPONSIVE, UNRESPONSIVE), ("no answer within", "belongs to pid"), UNRESPONSIVE
    ),
    "epmd replaced by a program that answers garbage": Fault(
        replaced_by(GARBAGE), (UNRESPONSIVE, UNRESPONSIVE), ("malformed", "belongs to pid"), UNRESPONSIVE
    ),
    "epmd replaced by a program that accepts and closes": Fault(
        replaced_by(answer(b"")),
        (UNRESPONSIVE, UNRESPONSIVE),
        ("closed the connection without an answer", "belongs to pid"),
        UNRESPONSIVE,
    ),
    "epmd restarted at another address (127.0.0.2)": Fault(
        elsewhere("127.0.0.2"),
        (UNRESPONSIVE, UNRESPONSIVE),
        ("the node asks 127.0.0.1 port", "at 127.0.0.2"),
        UNRESPONSIVE,
    ),
    "epmd restarted at an address of the other family (::1)": Fault(
        elsewhere("::1"), (UNRESPONSIVE, UNRESPONSIVE), ("the node asks 127.0.0.1 port", "at ::1"), UNRESPONSIVE
    ),
    "epmd dead, and its port taken by another program at another address": Fault(
        taken_elsewhere, (UNRESPONSIVE, UNRESPONSIVE), ("belongs to pid", "at 127.0.0.2"), UNRESPONSIVE
    ),
    "the loopback interface switched off": Fault(
        without_loopback, (UNRESPONSIVE, UNRESPONSIVE), ("ip link set lo up", "belongs to pid"), UNRESPONSIVE
    ),
    "epmd out of descriptors": Fault(
        without_descriptors, (UNRESPONSIVE, UNRESPONSIVE), ("gives no table",), UNRESPONSIVE
    ),
    "the network between module and epmd cut": Fault(
        cut_off, (UNRESPONSIVE, UNRESPONSIVE), ("can't be reached", "belongs to pid"), UNRESPONSIVE
    ),
    "the connection between node and epmd silently cut": Fault(silently_cut, ("missing", "missing"), ("vic",)),
    "the name squatted with the node's port": Fault(squatted_with_its_port, ("borrowed", "borrowed"), ("1 borrowed",)),
    "the name squatted with another port": Fault(
        squatted_with_another, ("conflict", "conflict"), ("its holder is pid", "port 4711"), "conflict"
    ),
    "the name registered by the node itself with a wrong port": Fault(
        mistyped, ("conflict", "conflict"), ("registered: vic",)
    ),
    "the name squatted between observation and repair": Fault(
        squatted_meanwhile, ("missing", "missing"), ("another process meanwhile", "run again"), "not_registered"
    ),
    "node stopped (SIGSTOP) before the handshake": Fault(
        node_stopped, ("missing", "missing"), ("does not answer", "no answer within"), "timeout"
    ),
    "node stopped (SIGSTOP) during the handshake": Fault(
        node_stopped_in_the_handshake, LOST, ("no answer within", "in the handshake", "run again"), "timeout"
    ),
    "rex of the node busy": Fault(rex_busy, LOST, ("no answer within", ", asked ", "run again"), "timeout"),
}


NOT_OF_ERLANG = ("epmd replaced", "epmd stopped", "node stopped", "the network between")
"""Starts of the names of faults in which no code of epmd or of the node runs."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.one_release] * name.startswith(NOT_OF_ERLANG)) for name in FAULTS],
)
def test_a_fault_is_reported_and_the_next_run_repairs_it(scene: Scene, survived: Survived, name: str) -> None:
    fault, before = FAULTS[name], life(scene.node)
    with fault.happens(scene):
        trial = attempt()
        (found,) = trial.outcome.nodes
        assert found["verdict"] == fault.verdicts[scene.heals], trial.outcome.msg
        assert trial.outcome.failed == bool(fault.reason), trial.outcome.msg
        assert trial.outcome.reason == fault.reason
        for word in fault.words:
            assert word in trial.outcome.msg
    again = attempt()
    assert not again.outcome.failed, again.outcome.msg
    assert scene.epmd.names() == {"vic": scene.node.port}
    assert holders(scene.epmd.port) >= {scene.node.pid}
    assert life(scene.node) == before
    survived(name, scene.otp.release, found["verdict"], found["msg"], trial.seconds)


@pytest.mark.one_release
@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_an_epmd_elsewhere_is_told_at_once_and_nothing_is_started(scene: Scene, address: str) -> None:
    forget(scene.epmd, scene.node)
    with epmd_at(scene.otp.bindir / "epmd", address, scene.epmd.port) as pid:
        trial = attempt(VIC._replace(timeout=60))
        assert trial.seconds < TIMEOUT + MARGIN
        assert (trial.outcome.changed, listeners(scene.epmd.port)) == (False, {pid})
        (daemon,) = trial.outcome.daemons
        assert (daemon["pid"], daemon["addresses"], daemon["state"]) == (pid, [address], "mute")
        assert (daemon["started"], daemon["names"]) == (False, None)


def test_an_epmd_that_can_not_start_says_why_and_changes_nothing(scene: Scene, survived: Survived) -> None:
    """It is told to listen at an address that the host has lost since."""
    own = {"ERL_EPMD_ADDRESS": "10.9.8.7"}
    with scene.otp.node("wim", epmd_port=scene.epmd.port, cookie=COOKIE, env=own) as node:
        before = life(node)
        forget(scene.epmd, node)
        trial = attempt(Options(["wim"], timeout=60))
        assert trial.seconds < TIMEOUT + MARGIN
        assert (trial.outcome.failed, trial.outcome.changed, trial.outcome.reason) == (True, False, "epmd_not_started")
        assert "ended at once: failed to bind " in trial.outcome.msg
        assert trial.outcome.msg.endswith(": Cannot assign requested address")
        assert not listeners(scene.epmd.port)
        (found,) = trial.outcome.nodes
        fault = "epmd dead, and told to listen at an address that the host does not have"
        survived(fault, scene.otp.release, found["verdict"], found["msg"], trial.seconds)
        scene.epmd.start()
        assert not attempt(Options(["wim"], timeout=TIMEOUT)).outcome.failed
        assert life(node) == before


def test_who_answers_like_an_epmd_is_named(scene: Scene, survived: Survived) -> None:
    """A program that hands on to an epmd elsewhere, such as the proxy of a container's port."""
    forget(scene.epmd, scene.node)
    with scene.otp.epmd() as real:

        def hand_on(connection: socket.socket) -> None:
            with socket.create_connection(("127.0.0.1", real.port)) as upstream:
                while True:
                    for ready in select.select([connection, upstream], [], [])[0]:
                        data = ready.recv(4096)
                        if not data:
                            return
                        (upstream if ready is connection else connection).sendall(data)

        with FakeServer(hand_on, scene.epmd.port):
            if scene.heals:
                wait_until(real.names, "the node to register itself")
            trial = attempt()
            assert not trial.outcome.failed, trial.outcome.msg
            assert real.names() == {"vic": scene.node.port}
            (warning,) = trial.outcome.warnings
            assert f"port {scene.epmd.port} belongs to pid {os.getpid()} of user root" in warning
            assert "answers as an epmd but is not one: the names of the nodes are in its table" in warning
            (daemon,) = trial.outcome.daemons
            assert (daemon["pid"], f"pid {os.getpid()}" in daemon["msg"]) == (None, True)
            (found,) = trial.outcome.nodes
            fault = "epmd replaced by a program that hands on to another epmd"
            survived(fault, scene.otp.release, found["verdict"], found["msg"], trial.seconds)


@pytest.mark.one_release
def test_a_bystander_keeps_its_registration(scene: Scene) -> None:
    """The name of another process at the same epmd, during a repair that cuts a dead connection."""
    with cut_silently(scene.epmd, scene.node), Squatter(scene.epmd.port, "bystander", 4711):
        assert attempt().outcome.changed
        assert scene.epmd.names() == {"vic": scene.node.port, "bystander": 4711}


def test_a_node_that_dies_during_the_call(scene: Scene, survived: Survived) -> None:
    lose(scene.epmd, scene.node)
    call = erl_epmd.register

    def late(*arguments: object) -> object:
        scene.node.close()
        return call(*arguments)  # type: ignore[arg-type]

    scene.monkeypatch.setattr(erl_epmd, "register", late)
    trial = attempt()
    assert trial.outcome.failed
    assert "closed the connection" in trial.outcome.msg
    assert scene.epmd.names() == {}
    (found,) = trial.outcome.nodes
    survived("node killed during the call", scene.otp.release, found["verdict"], found["msg"], trial.seconds)


STEPS: dict[str, tuple[object, str]] = {
    "its sockets are read": (owners, "sockets_of"),
    "its cookie is looked for": (cookies, "find"),
    "it is connected to again": (NodeConnection, "open"),
    "the owner of the connection is asked for": (connections, "accepted"),
    "epmd is started": (start_epmd, "start"),
    "its registration is proved": (observe, "look_again"),
    "its epmd is described": (owners, "epmds"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
def test_a_node_that_ends_at_any_step_is_told_in_one_sentence(
    scene: Scene, survived: Survived, step: str, beside: bool
) -> None:
    owner, function = STEPS[step]
    real = getattr(owner, function)

    def late(*arguments: object, **options: object) -> object:
        os.kill(scene.node.pid, signal.SIGKILL)
        wait_until(lambda: ended(scene.node.pid), "the node to end")
        return real(*arguments, **options)

    with contextlib.ExitStack() as stack:
        if beside:
            stack.enter_context(scene.otp.node("wim", epmd_port=scene.epmd.port, cookie=COOKIE))
        lose(scene.epmd, scene.node)
        scene.monkeypatch.setattr(owner, function, late)
        trial = attempt(Options([], timeout=TIMEOUT))
    assert trial.outcome.msg
    assert "defect" not in repr(trial.outcome)
    assert "Errno" not in repr(trial.outcome)
    if step == "its cookie is looked for":
        found = next(found for found in trial.outcome.nodes if found["pid"] == scene.node.pid)
        fault = "node killed while its cookie is looked for"
        survived(fault, scene.otp.release, found["verdict"], found["msg"], trial.seconds)


def ended(pid: int) -> bool:
    """Whether a process has ended, also while nobody has taken note of it."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("mode", [Mode.PREDICT, Mode.REPAIR])
def test_a_file_system_that_hangs(scene: Scene, survived: Survived, mode: Mode) -> None:
    """Its cookie is on it. One node alone has an end, too, and nothing is changed."""
    lose(scene.epmd, scene.node)
    scene.monkeypatch.setattr(files, "read", lambda *_given: time.sleep(3600))
    begin = time.monotonic()
    outcome = ensure(VIC._replace(cookie_file="/mnt/cookie"), mode)
    seconds = time.monotonic() - begin
    assert seconds <= TIMEOUT + MARGIN
    assert (outcome.failed, outcome.changed, outcome.reason) == (True, False, "timeout")
    (found,) = outcome.nodes
    fault = "a file system that hangs, with the cookie"
    survived(fault, scene.otp.release, found["verdict"], found["msg"], seconds)


def test_a_port_that_another_program_has_taken(scene: Scene, survived: Survived) -> None:
    port = scene.node.port
    scene.node.close()
    with FakeServer(answer(b"SSH-2.0-OpenSSH_9.2p1\r\n"), port=port) as server:
        trial = attempt(Options(["vic"], port=port, cookie=COOKIE, epmd_port=scene.epmd.port, timeout=TIMEOUT))
        assert trial.outcome.failed
        assert f"port {port}" in trial.outcome.msg
        (found,) = trial.outcome.nodes
        fault = "port of the node taken by another program"
        survived(fault, scene.otp.release, found["verdict"], found["msg"], trial.seconds)
        assert server.accepted
        connections = server.accepted
        ended = attempt()
        assert "no such node runs here" in ended.outcome.msg
        assert ended.outcome.reason == "not_running"
        assert ended.outcome.missing == ["vic"]
        assert server.accepted == connections
    assert scene.epmd.names() == {}


@pytest.mark.one_release
def test_an_epmd_that_another_user_started_again(open_otp: Otp, epmd: Epmd, node: Node, survived: Survived) -> None:
    before = life(node)
    forget(epmd, node)
    with open_otp.epmd(epmd.port, user="nobody") as other:
        if open_otp.release > 23:
            wait_until(other.names, "the node to register itself")
        trial = attempt()
        assert not trial.outcome.failed, trial.outcome.msg
        assert other.names() == {"vic": node.port}
        assert life(node) == before
        (found,) = trial.outcome.nodes
        fault = "epmd killed and started again by another user"
        survived(fault, open_otp.release, found["verdict"], found["msg"], trial.seconds)


@pytest.mark.one_release
def test_a_full_disk(epmd: Epmd, node: Node, tmp_path: Path) -> None:
    """Ansible itself can't copy a module to such a host, so nothing happens there."""
    lose(epmd, node)
    before = life(node)
    disk = tmp_path / "remote"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        full = disk / "full"
        with contextlib.suppress(OSError), full.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        ad_hoc = AdHoc(tmp_path)
        refused = ad_hoc(name="vic")
        assert refused.failed
        assert "No space left on device" in refused.output
        assert node.pid not in holders(epmd.port)
        full.unlink()
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        assert ad_hoc(name="vic").changed
        assert life(node) == before
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.one_release
def test_nodes_that_hang_do_not_delay_the_others(scene: Scene) -> None:
    """The time of a run for all at once, compared with one after the other."""
    with contextlib.ExitStack() as stack:
        hung = [
            stack.enter_context(scene.otp.node(f"hung{number}", epmd_port=scene.epmd.port, cookie=COOKIE))
            for number in range(4)
        ]
        for node in hung:
            node.suspend()
        lose(scene.epmd, scene.node)
        everything = Options([], timeout=TIMEOUT)
        begin = time.monotonic()
        outcome = ensure(everything, Mode.REPAIR)
        at_once = time.monotonic() - begin
        assert {node["name"] for node in outcome.nodes if node["registered"]} == {scene.node.name}
        # A node may be observed when the epmd that was started for another one is up: then its name is missing.
        assert {node["verdict"] for node in outcome.nodes} <= {LOST[scene.heals], "missing"}
        assert len(outcome.nodes) == 5
        with scene.monkeypatch.context() as patch:
            patch.setattr(children, "MAX_AT_ONCE", 1)
            begin = time.monotonic()
            ensure(everything, Mode.REPAIR)
            one_by_one = time.monotonic() - begin
        assert at_once < one_by_one / 2
        for node in hung:
            node.resume()


@pytest.mark.one_release
@pytest.mark.parametrize("count", [2, 10])
def test_many_runs_at_once(scene: Scene, count: int, register: Register) -> None:
    lose(scene.epmd, scene.node)
    with ThreadPoolExecutor(count) as pool:
        runs = list(pool.map(lambda _run: register(name="vic", timeout=20), range(count)))
    assert [run.msg for run in runs if run.failed] == []
    assert scene.epmd.names() == {"vic": scene.node.port}
    assert holders(scene.epmd.port) >= {scene.node.pid}
    assert scene.node.log == ""


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("owner", "function"),
    [
        (observe, "_first_challenge"),
        (observe, "_holds"),
        (cookies, "find"),
        (repair, "_authenticate"),
        (erl_epmd, "register"),
        (observe, "look_again"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_that_is_killed(scene: Scene, owner: object, function: str, after: bool) -> None:
    """At any point of its work: the node is unchanged, and the next run repairs it."""
    lose(scene.epmd, scene.node)
    before = life(scene.node)
    work = getattr(owner, function)

    def last(*arguments: object) -> None:
        if after:
            work(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    def killed() -> bool:
        setattr(owner, function, last)
        return ensure(VIC, Mode.REPAIR).failed

    child = fork(killed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    settle(scene.node)
    assert not attempt().outcome.failed
    assert scene.epmd.names() == {"vic": scene.node.port}
    assert life(scene.node) == before


def fork(work: Callable[[], bool]) -> int:
    """Do the work in a child, which ends with 0 if that returns False; returns its pid."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = int(work())
        finally:
            os._exit(code)
    return child
