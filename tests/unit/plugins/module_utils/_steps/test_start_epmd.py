# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an epmd is started, and what the programs that start it say: these are scripts, and nobody's rights change."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._ensure import ensure
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, StillSilent
from ansible_collections.beamops.epmd.plugins.module_utils._host import command_line, inside, namespaces, processes
from ansible_collections.beamops.epmd.plugins.module_utils._host.processes import Vm
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import start_epmd
from ansible_collections.beamops.epmd.plugins.module_utils._steps.start_epmd import Started, choose_unit
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Daemon, Table
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, NodePeer, answer, epmd, hang, node, rpc

HERE = start_epmd._Place(False, None, "")


def executes(command: str) -> str:
    return (
        f"ExecStart={{ path={command.partition(' ')[0]} ; argv[]={command} ; ignore_errors=no ; start_time=[n/a] ; "
        "stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }\n"
    )


def show(*units: str) -> str:
    """Blocks are parted by an empty line, and the last one ends with a line end."""
    return "\n".join(units)


def socket(*listens: str) -> str:
    lines = "".join(f"Listen={listen}\n" for listen in listens)
    return f"{lines}Environment=\nId=epmd.socket\nLoadState=loaded\n"


def service(command: str = "/usr/bin/epmd -systemd", environment: str = "") -> str:
    return f"{executes(command)}Environment={environment}\nId=epmd.service\nLoadState=loaded\n"


NO_SOCKET = "Environment=\nId=epmd.socket\nLoadState=not-found\n"
NO_SERVICE = "Environment=\nId=epmd.service\nLoadState=not-found\n"
MASKED_SOCKET = "Environment=\nId=epmd.socket\nLoadState=masked\n"
MASKED_SERVICE = "Environment=\nId=epmd.service\nLoadState=masked\n"

DEBIAN = show(socket("[::]:4369 (Stream)"), service())
FEDORA = show(socket("127.0.0.1:4369 (Stream)"), service("/usr/bin/epmd -systemd"))
BOTH_LOOPBACKS = show(socket("127.0.0.1:4369 (Stream)", "[::1]:4369 (Stream)"), service())
SUSE = show(NO_SOCKET, service("/usr/sbin/epmd"))
WITH_PORT = show(NO_SOCKET, service("/usr/bin/epmd -port 4370 -relaxed_command_check"))


@pytest.mark.parametrize(
    ("shown", "port", "unit"),
    [
        pytest.param(DEBIAN, 4369, "epmd.service", id="Debian"),
        pytest.param(DEBIAN, 4370, None, id="Debian, other port"),
        pytest.param(DEBIAN, 369, None, id="Debian, end of the port"),
        pytest.param(DEBIAN, 436, None, id="Debian, start of the port"),
        pytest.param(DEBIAN, 14369, None, id="Debian, longer port"),
        pytest.param(FEDORA, 4369, "epmd.service", id="Fedora"),
        pytest.param(FEDORA, 4370, None, id="Fedora, other port"),
        pytest.param(BOTH_LOOPBACKS, 4369, "epmd.service", id="two addresses"),
        pytest.param(
            show(socket("127.0.0.1:4370 (Stream)", "127.0.0.1:4369 (Stream)"), service()),
            4369,
            "epmd.service",
            id="two ports, the second",
        ),
        pytest.param(
            show(socket("127.0.0.1:4370 (Stream)", "127.0.0.1:4369 (Stream)"), service()),
            4370,
            "epmd.service",
            id="two ports, the first",
        ),
        pytest.param(show(socket("[::]:4369 (Datagram)"), service()), 4369, None, id="no stream"),
        pytest.param(show(socket("/run/epmd.sock (Stream)"), service()), 4369, None, id="no port"),
        pytest.param(show(NO_SOCKET, NO_SERVICE), 4369, None, id="not found"),
        pytest.param(show(MASKED_SOCKET, MASKED_SERVICE), 4369, None, id="masked"),
        pytest.param(show(MASKED_SOCKET, NO_SERVICE), 4369, None, id="socket masked"),
        pytest.param(
            show("Listen=[::]:4369 (Stream)\nId=epmd.socket\nLoadState=bad-setting\n", NO_SERVICE),
            4369,
            None,
            id="bad setting",
        ),
        pytest.param(show(socket("[::]:4369 (Stream)"), NO_SERVICE), 4369, "epmd.socket", id="socket alone"),
        pytest.param(SUSE, 4369, "epmd.service", id="service alone"),
        pytest.param(SUSE, 4370, None, id="service alone, other port"),
        pytest.param(WITH_PORT, 4370, "epmd.service", id="service with -port"),
        pytest.param(WITH_PORT, 4369, None, id="service with -port, default port"),
        pytest.param(WITH_PORT, 437, None, id="service with -port, start of the port"),
        pytest.param(show(NO_SOCKET, service("/usr/bin/epmd -port 04370")), 4370, "epmd.service", id="-port 04370"),
        pytest.param(show(NO_SOCKET, service(f"/usr/bin/epmd -port {'4' * 5000}")), 4369, None, id="a long -port"),
        pytest.param(
            show(NO_SOCKET, service("/usr/bin/epmd", "ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=4370")),
            4370,
            "epmd.service",
            id="service with its port in the environment",
        ),
        pytest.param(
            show(NO_SOCKET, service("/usr/bin/epmd", "ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=4370")),
            4369,
            None,
            id="service with another port in the environment",
        ),
        pytest.param(
            show(NO_SOCKET, service("/usr/bin/epmd -port 4371", "ERL_EPMD_PORT=4370")),
            4371,
            "epmd.service",
            id="-port before the environment",
        ),
        pytest.param(show(service(), socket("[::]:4369 (Stream)")), 4369, "epmd.service", id="other order"),
        pytest.param("", 4369, None, id="nothing"),
        pytest.param("\n\n\n", 4369, None, id="empty lines"),
        pytest.param("Id=epmd.service\n", 4369, None, id="no state"),
        pytest.param("garbage", 4369, None, id="garbage"),
    ],
)
def test_the_unit_that_runs_epmd_on_this_port_is_chosen(shown: str, port: int, unit: str | None) -> None:
    assert choose_unit(shown, port) == unit


@pytest.mark.parametrize(
    "shown",
    [
        show(socket("[::]:4369 (Stream)"), MASKED_SERVICE),
        show(MASKED_SOCKET, service("/usr/bin/epmd -systemd")),
    ],
    ids=["service masked", "socket masked"],
)
def test_a_unit_that_systemd_would_refuse_to_start_is_not_chosen(shown: str) -> None:
    assert choose_unit(shown, 4369) is None


def run(script: str, seconds: float = 60) -> str:
    return start_epmd._run(HERE, ["sh", "-c", script], Deadline(seconds), "it failed")


def test_what_a_command_says_is_taken_up_to_a_limit() -> None:
    assert run("echo one; echo two") == "one\ntwo\n"
    assert run("head -c 10000000 /dev/zero") == "\0" * _limits.MAX_COMMAND_OUTPUT


def test_the_first_line_of_a_command_that_fails_is_told() -> None:
    with pytest.raises(EpmdError, match=r"^it failed: the cause(; run with become)?$"):
        run("echo the cause >&2; echo more; exit 3")
    with pytest.raises(EpmdError, match=r"^it failed: exit code 3"):
        run("exit 3")
    with pytest.raises(EpmdError, match=r"^it failed: No such file"):
        start_epmd._run(HERE, ["/no/such/program"], Deadline(60), "it failed")


@pytest.mark.parametrize("script", ["exec sleep 3600", "exec yes", "exec >&- 2>&-; exec sleep 3600"])
def test_a_command_that_does_not_end_is_ended(script: str) -> None:
    with pytest.raises(EpmdError, match=r"^it failed: sh did not end within 0.2 s$"):
        run(script, 0.2)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


class Steps(Deadline):
    """It ends after so many looks at it, however fast this machine is; `last` is what is left from then on."""

    def __init__(self, looks: int, last: float) -> None:
        super().__init__(60)
        self._looks = looks
        self._last = last

    def left(self) -> float:
        self._looks -= 1
        return 60 if self._looks >= 0 else self._last


class Host:
    """A host with these programs, which is where all programs are looked for. Each writes down how it was called.

    An epmd listens as soon as a program says that it starts one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, int] = {}
        with FakeServer(epmd({})) as free:
            self.daemon = Daemon("127.0.0.1", free.port)
        self._epmd: FakeServer | None = None
        os.mkfifo(path / "fifo")
        self._waiting = threading.Thread(target=self._wait, daemon=True)
        self._waiting.start()

    def _wait(self) -> None:
        if (self.path / "fifo").read_text() == "start\n":
            self._epmd = FakeServer(epmd(self.names), self.daemon.port)

    def close(self) -> None:
        while self._waiting.is_alive():
            # It may have come to its end between the two looks; then nobody reads.
            with contextlib.suppress(OSError):
                os.close(os.open(self.path / "fifo", os.O_WRONLY | os.O_NONBLOCK))
            self._waiting.join(0.01)
        if self._epmd:
            self._epmd.close()

    def has(self, program: str, script: str = "", starts: bool = False) -> None:
        """Have this program, a script that gets the arguments of its call."""
        file = self.path / program
        say = f"printf 'start\\n' >{shlex.quote(str(self.path / 'fifo'))}" if starts else ""
        called = shlex.quote(str(self.path / "called"))
        file.write_text(f'#!/bin/sh\necho "{program} $*" >>{called}\n{script}\n{say}\n')
        file.chmod(0o755)

    def enters(self, program: str) -> None:
        """Have this program, which changes something and then becomes the command behind `--`."""
        self.has(program, 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')

    @property
    def called(self) -> list[str]:
        file = self.path / "called"
        return file.read_text().splitlines() if file.exists() else []

    def start(self, vm: Vm, deadline: Deadline | None = None) -> Started:
        return start_epmd.start(vm, self.daemon, deadline or Deadline(60))

    def refusal(self, vm: Vm, deadline: Deadline | None = None) -> str:
        with pytest.raises(EpmdError) as caught:
            self.start(vm, deadline)
        return str(caught.value)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host without systemd."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setattr(start_epmd, "_PATH", f"{path}:/usr/bin:/bin")
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    monkeypatch.setattr(start_epmd, "SYSTEMD", str(tmp_path / "systemd"))
    monkeypatch.setattr(start_epmd, "POLL_SECONDS", 0.001)
    found = Host(path)
    yield found
    found.close()


@pytest.fixture
def systemd(host: Host, tmp_path: Path) -> Host:
    """A host with systemd, and with Debian's units for the port of this epmd."""
    (tmp_path / "systemd").mkdir()
    (tmp_path / "units").write_text(show(socket(f"[::]:{host.daemon.port} (Stream)"), service()))
    host.has("systemctl", systemctl(tmp_path))
    return host


def systemctl(path: Path, failure: str = "") -> str:
    fifo = shlex.quote(str(path / "bin/fifo"))
    return (
        f"case $* in show*) cat {shlex.quote(str(path / 'units'))};; *reset-failed*) exit 1;; "
        f"*start*) {failure or f'echo start >{fifo}'};; esac"
    )


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be taken for root, whose programs do nothing here."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def vm(*flags: str, uid: int | None = None, executable: str | None = None, **environment: str) -> Vm:
    said = command_line.parse(["beam.smp", "--", *flags], environment)
    return Vm(None, os.geteuid() if uid is None else uid, "vic", executable, said)


def test_an_epmd_that_runs_by_now_is_not_started(host: Host) -> None:
    with FakeServer(epmd({"vic": 1}), host.daemon.port):
        assert host.start(vm()) == Started(Table({"vic": 1}), False)
    assert host.called == []


def test_an_epmd_is_started_as_the_node_would_with_its_environment(host: Host, tmp_path: Path) -> None:
    host.has("epmd", f"env >{shlex.quote(str(tmp_path / 'env'))}; pwd >>{shlex.quote(str(tmp_path / 'env'))}", True)
    started = host.start(vm(ERL_EPMD_ADDRESS="127.0.0.1", ERL_EPMD_PORT="1", LD_PRELOAD="/theirs.so", HOME="/theirs"))
    assert started == Started(Table({}), True)
    assert host.called == ["epmd -daemon"]
    lines = (tmp_path / "env").read_text().splitlines()
    assert {f"ERL_EPMD_PORT={host.daemon.port}", "ERL_EPMD_ADDRESS=127.0.0.1", "/"} <= set(lines)
    assert "theirs" not in " ".join(lines)


def test_the_epmd_of_the_nodes_own_erts_comes_first(host: Host) -> None:
    (host.path / "erts").mkdir()
    host.has("epmd", "exit 1")
    host.has("erts/epmd", starts=True)
    assert host.start(vm(executable=f"{host.path}/erts/beam.smp")).by_us
    assert host.called == ["erts/epmd -daemon"]


def test_the_bindir_of_the_node_counts_where_its_program_is_not_known(host: Host) -> None:
    (host.path / "erts").mkdir()
    host.has("erts/epmd", starts=True)
    assert host.start(vm("-bindir", f"{host.path}/erts")).by_us


def test_where_there_is_no_epmd_none_is_started(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_epmd, "_PATH", str(host.path))
    assert "neither the node's own epmd nor one on the PATH can be found: start it" in host.refusal(vm())


def test_an_epmd_is_not_started_for_who_is_not_known(host: Host) -> None:
    host.has("epmd", starts=True)
    assert "whose node this is can't be seen" in host.refusal(vm()._replace(uid=None))
    assert host.called == []


def test_nobody_but_root_starts_an_epmd_for_another(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.has("epmd", starts=True)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert "only root or vic may start it as the node would: run with become" in host.refusal(vm(uid=4712))
    assert host.called == []
    assert host.start(vm(uid=4711)).by_us


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(("name", "groups"), [("vic", "--init-groups"), ("", "--clear-groups")])
def test_root_becomes_the_user_of_the_node_also_where_that_has_no_name(
    host: Host, name: str, groups: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "user_name", lambda uid: name or str(uid))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: type("", (), {"pw_gid": 8}))
    host.has("epmd", starts=True)
    host.enters("setpriv")
    assert host.start(vm(uid=7)).by_us
    gid = 8 if name else 7
    assert host.called == [f"setpriv --reuid=7 --regid={gid} {groups} -- {host.path}/epmd -daemon", "epmd -daemon"]


def test_an_epmd_that_cannot_be_started_says_why(host: Host) -> None:
    host.has("epmd", "exit 7")
    assert host.refusal(vm()) == f"{host.path}/epmd -daemon ended with exit code 7"
    (host.path / "epmd").write_text("#!/no/such/shell\n")
    # CPython 3.7 adds which file.
    assert host.refusal(vm()).startswith(f"{host.path}/epmd could not be started: No such file or directory")


def test_an_epmd_that_stays_in_the_foreground_has_an_end(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def noted(*command: Any, **options: Any) -> Any:
        children.append(real(*command, **options))
        return children[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    host.has("epmd", "exec sleep 3600")
    said = host.refusal(vm(), Steps(1, 0.05))
    (child,) = children
    assert child.returncode == -signal.SIGKILL
    assert said == f"{host.path}/epmd -daemon did not go into the background within 60 s"


def test_an_epmd_that_is_started_and_answers_nothing_has_an_end(host: Host) -> None:
    host.has("epmd")
    said = host.refusal(vm(), Steps(100, 0.0015))
    assert said == f"epmd was started, but does not answer on 127.0.0.1 port {host.daemon.port}"


def test_an_epmd_that_is_silent_for_all_of_the_time_has_an_end_too(host: Host) -> None:
    with FakeServer(hang, host.daemon.port), pytest.raises(StillSilent, match="epmd was started, but does not answer"):
        start_epmd._wait(host.daemon, None, Deadline(0.1))


def test_an_epmd_that_does_not_answer_was_started_all_the_same(host: Host) -> None:
    host.has("epmd")
    with FakeServer(node(rpc(lambda *_given: Atom("erl_epmd")), NodePeer("vic@web1"))) as peer:
        options = Options(["vic"], port=peer.port, cookie="MonsterCookie", epmd_port=host.daemon.port, timeout=0.5)
        outcome = ensure(options, check_mode=False)
    assert "epmd was started, but does not answer" in outcome.msg
    assert (outcome.failed, outcome.changed, outcome.epmd[0]["started"]) == (True, True, True)


def test_something_else_that_listens_there_is_no_epmd(host: Host) -> None:
    host.has("epmd")
    with FakeServer(answer(b"x"), host.daemon.port):
        assert "does not answer" in host.refusal(vm(), Steps(100, 0.0015))


def test_a_node_is_registered_with_the_epmd_that_was_started_for_it(host: Host) -> None:
    host.has("epmd", starts=True)

    def register(_module: str, function: str, arguments: list[Any]) -> Any:
        if function == "epmd_module":
            return Atom("erl_epmd")
        if function != "register_node":
            return Atom("ok")
        host.names["vic"] = arguments[1]
        return (Atom("ok"), 1)

    with FakeServer(node(rpc(register), NodePeer("vic@web1"))) as peer:
        options = Options(["vic"], port=peer.port, cookie="MonsterCookie", epmd_port=host.daemon.port, timeout=60)
        predicted = ensure(options, check_mode=True)
        assert host.called == []
        outcome = ensure(options, check_mode=False)
    assert [found["msg"] for found in predicted.nodes] == ["epmd would be started and the node registered"]
    assert [found["msg"] for found in outcome.nodes] == ["epmd was started; registered"]
    assert (outcome.failed, outcome.changed, outcome.epmd[0]["started"]) == (False, True, True)
    assert outcome.diff == predicted.diff


@pytest.mark.parametrize(
    ("function", "reply", "words"),
    [
        (
            "epmd_module",
            Atom("my_epmd"),
            "the node finds other nodes with its own epmd_module my_epmd, and needs no epmd",
        ),
        ("get_argument", (Atom("ok"), [[b"1"]]), None),
        ("get_argument", (Atom("ok"), [[[49]]]), "the node uses the epmd on port 1, not {}: give epmd_port=1"),
    ],
)
def test_no_epmd_is_started_that_the_node_would_not_use(
    host: Host, function: str, reply: Any, words: str | None
) -> None:
    host.has("epmd", starts=True)

    def answer_to(_module: str, asked: str, _arguments: list[Any]) -> Any:
        return reply if asked == function else Atom("erl_epmd" if asked == "epmd_module" else "ok")

    with FakeServer(node(rpc(answer_to), NodePeer("vic@web1"))) as peer:
        options = Options(["vic"], port=peer.port, cookie="MonsterCookie", epmd_port=host.daemon.port, timeout=60)
        outcome = ensure(options, check_mode=False)
    assert outcome.failed
    assert outcome.epmd[0]["started"] == (words is None)
    if words:
        assert outcome.nodes[0]["msg"] == words.format(host.daemon.port)


def test_an_epmd_that_was_started_in_vain_is_a_change(host: Host) -> None:
    host.has("epmd", starts=True)
    refusing = rpc(lambda *_given: (Atom("error"), Atom("econnrefused")))
    with FakeServer(node(refusing, NodePeer("vic@web1"))) as peer:
        options = Options(["vic"], port=peer.port, cookie="MonsterCookie", epmd_port=host.daemon.port, timeout=60)
        outcome = ensure(options, check_mode=False)
    assert (outcome.failed, outcome.changed, outcome.epmd[0]["started"]) == (True, True, True)


def test_a_unit_of_systemd_for_this_port_is_started(systemd: Host) -> None:
    assert systemd.start(vm()).by_us
    assert systemd.called[0].startswith("systemctl show --property=Id,LoadState,Listen,ExecStart,Environment epmd.")
    assert systemd.called[1:] == [
        "systemctl --no-ask-password reset-failed epmd.socket epmd.service",
        "systemctl --no-ask-password start epmd.service",
    ]


def test_a_unit_that_fails_says_why(systemd: Host, tmp_path: Path) -> None:
    systemd.has("systemctl", systemctl(tmp_path, "echo Job for epmd.service failed. >&2; exit 1"))
    said = systemd.refusal(vm())
    assert said.startswith("its unit epmd.service could not be started: Job for epmd.service failed.")
    systemd.has("systemctl", systemctl(tmp_path, ":"))
    assert systemd.refusal(vm(), Steps(100, 0.0015)).endswith(": see journalctl -u epmd.service")


@pytest.mark.usefixtures("root")
def test_without_a_unit_for_this_port_root_makes_one(systemd: Host, tmp_path: Path) -> None:
    (tmp_path / "units").write_text(show(NO_SOCKET, NO_SERVICE))
    systemd.has("epmd")
    systemd.has("systemd-run", starts=True)
    assert systemd.start(vm(uid=0, ERL_EPMD_ADDRESS="127.0.0.1")).by_us
    unit = f"beamops-epmd-{systemd.daemon.port}-{os.getpid()}.service"
    assert systemd.called[1:] == [
        f"systemd-run --unit={unit} --collect --quiet --uid=0 --setenv=ERL_EPMD_ADDRESS=127.0.0.1 "
        f"--setenv=PATH={start_epmd._PATH} --setenv=ERL_EPMD_PORT={systemd.daemon.port} -- {systemd.path}/epmd"
    ]


@pytest.mark.usefixtures("root")
def test_a_node_in_a_network_of_its_own_gets_its_epmd_there(systemd: Host) -> None:
    systemd.has("epmd")
    systemd.has("systemd-run", starts=True)
    assert systemd.start(vm(uid=2**30)._replace(pid=os.getpid(), namespace=1)).by_us
    (called,) = systemd.called
    assert f"--property=NetworkNamespacePath=/proc/{os.getpid()}/ns/net " in called
    # A user without a name is none that systemd knows.
    assert "--uid" not in called
    assert called.endswith(f" -- setpriv --reuid={2**30} --regid={2**30} --clear-groups -- {systemd.path}/epmd")


def test_who_is_not_root_starts_it_without_systemd_where_that_has_no_unit(
    systemd: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "units").write_text(show(NO_SOCKET, NO_SERVICE))
    systemd.has("epmd", starts=True)
    systemd.has("systemd-run")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert systemd.start(vm(uid=4711)).by_us
    assert systemd.called[1:] == ["epmd -daemon"]


def test_a_host_of_systemd_without_systemctl(systemd: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    (systemd.path / "systemctl").unlink()
    monkeypatch.setattr(start_epmd, "_PATH", str(systemd.path))
    systemd.has("epmd", starts=True)
    assert systemd.start(vm()).by_us


class TestContainer:
    """A node with a root directory of its own, which is ours here, but may have another init."""

    @pytest.fixture(autouse=True)
    def inside(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """For each program that was started in there, whether as the node itself."""
        entered: list[bool] = []

        def entrance(_pid: int, as_itself: bool) -> Callable[[], None]:
            entered.append(as_itself)
            return lambda: None

        monkeypatch.setattr(namespaces, "is_container", lambda _pid: True)
        monkeypatch.setattr(inside, "entrance", entrance)
        monkeypatch.setattr(inside, "with_files_of", lambda _pid, _seconds, work: work())
        return entered

    def test_only_root_may_start_it(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        said = host.refusal(vm()._replace(pid=os.getpid()))
        assert said == "epmd is down, and only root may start it in the node's container: run with become"

    @pytest.mark.usefixtures("root")
    def test_it_is_started_in_there_as_the_node_itself(self, host: Host, inside: list[bool]) -> None:
        host.has("epmd", starts=True)
        assert host.start(vm()._replace(pid=os.getpid())).by_us
        assert host.called == ["epmd -daemon"]
        assert inside == [True]

    @pytest.mark.usefixtures("root")
    def test_a_place_that_can_not_be_entered_is_said(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> None:
            raise PermissionError

        monkeypatch.setattr(inside, "entrance", lambda _pid, **_how: refuse)
        host.has("epmd")
        said = host.refusal(vm()._replace(pid=os.getpid()))
        assert said == f"{host.path}/epmd could not be started: its container can't be entered"

    @pytest.mark.usefixtures("root")
    def test_the_systemd_in_there_starts_it(
        self, systemd: Host, inside: list[bool], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(namespaces, "shares_pids", lambda _pid: False)
        assert systemd.start(vm()._replace(pid=os.getpid())).by_us
        assert systemd.called[-1] == "systemctl --no-ask-password start epmd.service"
        assert inside == [False] * len(systemd.called)

    @pytest.mark.usefixtures("root", "inside")
    def test_without_a_unit_in_there_it_gets_one_with_the_numbers_in_there(
        self, systemd: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "units").write_text(show(NO_SOCKET, NO_SERVICE))
        monkeypatch.setattr(namespaces, "shares_pids", lambda _pid: False)
        monkeypatch.setattr(inside, "ids_inside", lambda _pid: inside.Ids(7, 8))
        systemd.has("epmd")
        systemd.has("systemd-run", starts=True)
        assert systemd.start(vm(uid=100_007)._replace(pid=os.getpid())).by_us
        assert systemd.called[-1].endswith(f" -- setpriv --reuid=7 --regid=8 --clear-groups -- {systemd.path}/epmd")
