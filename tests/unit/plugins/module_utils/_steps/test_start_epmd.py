# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an epmd is started, and what the programs that start it say: these are scripts, and nobody's rights change.

How such a program runs is in `test_programs.py`, which unit is chosen in `test_systemd.py`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, StillSilent
from ansible_collections.beamops.epmd.plugins.module_utils._host import (
    children,
    command_line,
    inside,
    namespaces,
    programs,
    systemd,
    vms,
)
from ansible_collections.beamops.epmd.plugins.module_utils._host.vms import Vm
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import start_epmd
from ansible_collections.beamops.epmd.plugins.module_utils._steps.start_epmd import Started
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Daemon, State, Table
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, NodePeer, answer, epmd, hang, node, rpc

NO_UNITS = "Id=epmd.socket\nLoadState=not-found\n\nId=epmd.service\nLoadState=not-found\n"


def units(port: int) -> str:
    """What systemctl shows of Debian's units, on this port."""
    command = "{ path=/usr/bin/epmd ; argv[]=/usr/bin/epmd -systemd ; ignore_errors=no }"
    return (
        f"Listen=[::]:{port} (Stream)\nEnvironment=\nId=epmd.socket\nLoadState=loaded\n\n"
        f"ExecStart={command}\nEnvironment=\nId=epmd.service\nLoadState=loaded\n"
    )


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
        return start_epmd.start(vm, self.daemon, 7, deadline or Deadline(60))

    def refusal(self, vm: Vm, deadline: Deadline | None = None) -> str:
        with pytest.raises(EpmdError) as caught:
            self.start(vm, deadline)
        return str(caught.value)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host without systemd."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setattr(programs, "PATH", f"{path}:/usr/bin:/bin")
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    monkeypatch.setattr(systemd, "BOOTED", str(tmp_path / "systemd"))
    monkeypatch.setattr(start_epmd, "POLL_SECONDS", 0.001)
    found = Host(path)
    yield found
    found.close()


@pytest.fixture
def debian(host: Host, tmp_path: Path) -> Host:
    """A host with systemd, and with Debian's units for the port of this epmd."""
    (tmp_path / "systemd").mkdir()
    (tmp_path / "units").write_text(units(host.daemon.port))
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
    line = command_line.parse(["beam.smp", "--", *flags], environment)
    return Vm(None, os.geteuid() if uid is None else uid, "vic", executable, line)


def test_an_epmd_that_runs_by_now_is_not_started(host: Host) -> None:
    with FakeServer(epmd({"vic": 1}), host.daemon.port):
        assert host.start(vm()) == Started(Table(State.UP, {"vic": 1}), False)
    assert host.called == []


def test_nodes_that_share_an_epmd_start_it_one_after_the_other(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `alone` does is in `test_children.py`."""
    turns: list[object] = []

    @contextlib.contextmanager
    def alone(key: int, _deadline: Deadline) -> Iterator[None]:
        turns.append(key)
        yield
        turns.append(list(host.called))

    monkeypatch.setattr(children, "alone", alone)
    host.has("epmd", starts=True)
    host.start(vm())
    assert turns == [7, ["epmd -daemon"]]


def test_an_epmd_is_started_as_the_node_would_with_its_environment(host: Host, tmp_path: Path) -> None:
    host.has("epmd", f"env >{shlex.quote(str(tmp_path / 'env'))}; pwd >>{shlex.quote(str(tmp_path / 'env'))}", True)
    started = host.start(vm(ERL_EPMD_ADDRESS="127.0.0.1", ERL_EPMD_PORT="1", LD_PRELOAD="/theirs.so", HOME="/theirs"))
    assert started == Started(Table(State.UP, {}), True)
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
    monkeypatch.setattr(programs, "PATH", str(host.path))
    assert "neither the node's own epmd nor one on the PATH can be found: start it" in host.refusal(vm())


def test_an_epmd_is_not_started_for_an_unknown_user(host: Host) -> None:
    host.has("epmd", starts=True)
    assert "whose node this is can't be seen" in host.refusal(vm()._replace(uid=None))
    assert host.called == []


def test_nobody_but_root_starts_an_epmd_for_another(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.has("epmd", starts=True)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert "only root or vic may start it as the node would: run with become" in host.refusal(vm(uid=4712))
    assert host.called == []
    assert host.start(vm(uid=4711)).by_us


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("uid", [65534, 2**30])
def test_root_really_becomes_the_user_of_the_node(uid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not below tmp_path, which only root may enter."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        program = Path(directory) / "epmd"
        program.write_text("#!/bin/sh\n{ id -u; id -g; id -G; } >$0.ids\n")
        program.chmod(0o755)
        monkeypatch.setattr(programs, "PATH", f"{directory}:{programs.PATH}")
        start_epmd._by_hand(
            start_epmd._Epmd(str(program), 4369, uid, {"PATH": programs.PATH}),
            programs.Place(False, None, ""),
            Deadline(60),
        )
        gid = pwd.getpwuid(uid).pw_gid if uid == 65534 else uid
        assert (Path(directory) / "epmd.ids").read_text() == f"{uid}\n{gid}\n{gid}\n"


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(("name", "groups"), [("vic", "--init-groups"), ("", "--clear-groups")])
def test_root_becomes_the_user_of_the_node_also_where_that_has_no_name(
    host: Host, name: str, groups: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vms, "user_name", lambda uid: name or str(uid))
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
    assert host.refusal(vm()).startswith(f"{host.path}/epmd -daemon could not be started: No such file or directory")


def test_an_epmd_that_stays_in_the_foreground_has_an_end(host: Host) -> None:
    host.has("epmd", "exec sleep 3600")
    message = host.refusal(vm(), Deadline(1))
    assert message == f"{host.path}/epmd -daemon did not go into the background within 1 s"


def test_an_epmd_that_is_started_and_answers_nothing_has_an_end(host: Host) -> None:
    host.has("epmd")
    message = host.refusal(vm(), Deadline(1))
    assert message == f"epmd was started, but does not answer on 127.0.0.1 port {host.daemon.port}"


def test_an_epmd_that_is_silent_for_all_of_the_time_has_an_end_too(host: Host) -> None:
    with FakeServer(hang, host.daemon.port), pytest.raises(StillSilent, match="epmd was started, but does not answer"):
        start_epmd._wait(host.daemon, None, Deadline(0.1))


def test_an_epmd_that_does_not_answer_was_started_all_the_same(host: Host) -> None:
    host.has("epmd")
    with FakeServer(node(rpc(lambda *_given: Atom("erl_epmd")), NodePeer("vic@web1"))) as peer:
        options = Options(["vic"], port=peer.port, cookie="MonsterCookie", epmd_port=host.daemon.port, timeout=0.5)
        outcome = ensure(options, Mode.REPAIR)
    assert "epmd was started, but does not answer" in outcome.msg
    assert (outcome.failed, outcome.changed, outcome.daemons[0]["started"]) == (True, True, True)


def test_something_else_that_listens_there_is_no_epmd(host: Host) -> None:
    host.has("epmd")
    with FakeServer(answer(b"x"), host.daemon.port):
        assert "does not answer" in host.refusal(vm(), Deadline(1))


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
        predicted = ensure(options, Mode.PREDICT)
        assert host.called == []
        outcome = ensure(options, Mode.REPAIR)
    assert [found["msg"] for found in predicted.nodes] == ["epmd would be started and the node registered"]
    assert [found["msg"] for found in outcome.nodes] == ["epmd was started; registered"]
    assert (outcome.failed, outcome.changed, outcome.daemons[0]["started"]) == (False, True, True)
    assert outcome.diff == predicted.diff


@pytest.mark.parametrize(
    ("function", "reply", "words"),
    [
        (
            "epmd_module",
            Atom("my_epmd"),
            "it finds other nodes with its own epmd_module my_epmd, and needs no epmd",
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
        outcome = ensure(options, Mode.REPAIR)
    # A node that needs no epmd is no failure.
    assert outcome.failed == (function != "epmd_module")
    assert [daemon["started"] for daemon in outcome.daemons] == ([words is None] if outcome.failed else [])
    if words:
        assert outcome.nodes[0]["msg"] == words.format(host.daemon.port)


def test_an_epmd_that_was_started_in_vain_is_a_change(host: Host) -> None:
    host.has("epmd", starts=True)
    refusing = rpc(lambda *_given: (Atom("error"), Atom("econnrefused")))
    with FakeServer(node(refusing, NodePeer("vic@web1"))) as peer:
        options = Options(["vic"], port=peer.port, cookie="MonsterCookie", epmd_port=host.daemon.port, timeout=60)
        outcome = ensure(options, Mode.REPAIR)
    assert (outcome.failed, outcome.changed, outcome.daemons[0]["started"]) == (True, True, True)


def test_a_unit_of_systemd_for_this_port_is_started(debian: Host) -> None:
    assert debian.start(vm()).by_us
    assert debian.called[0].startswith("systemctl show --property=Id,LoadState,Listen,ExecStart,Environment epmd.")
    assert debian.called[1:] == [
        "systemctl --no-ask-password reset-failed epmd.socket epmd.service",
        "systemctl --no-ask-password start epmd.service",
    ]


def test_a_unit_that_fails_says_why(debian: Host, tmp_path: Path) -> None:
    debian.has("systemctl", systemctl(tmp_path, "echo Job for epmd.service failed. >&2; exit 1"))
    message = debian.refusal(vm())
    assert message.startswith("its unit epmd.service could not be started: Job for epmd.service failed.")
    debian.has("systemctl", systemctl(tmp_path, ":"))
    assert debian.refusal(vm(), Deadline(1)).endswith(": see journalctl -u epmd.service")


@pytest.mark.usefixtures("root")
def test_without_a_unit_for_this_port_root_makes_one(debian: Host, tmp_path: Path) -> None:
    (tmp_path / "units").write_text(NO_UNITS)
    debian.has("epmd")
    debian.has("systemd-run", starts=True)
    assert debian.start(vm(uid=0, ERL_EPMD_ADDRESS="127.0.0.1")).by_us
    unit = f"beamops-epmd-{debian.daemon.port}-{os.getpid()}.service"
    assert debian.called[1:] == [
        f"systemd-run --unit={unit} --collect --quiet --uid=0 --setenv=ERL_EPMD_ADDRESS=127.0.0.1 "
        f"--setenv=PATH={programs.PATH} --setenv=ERL_EPMD_PORT={debian.daemon.port} -- {debian.path}/epmd"
    ]


@pytest.mark.usefixtures("root")
def test_a_node_in_a_network_of_its_own_gets_its_epmd_there(debian: Host) -> None:
    debian.has("epmd")
    debian.has("systemd-run", starts=True)
    assert debian.start(vm(uid=2**30)._replace(pid=os.getpid(), namespace=1)).by_us
    (called,) = debian.called
    assert f"--property=NetworkNamespacePath=/proc/{os.getpid()}/ns/net " in called
    # systemd knows no user without a name.
    assert "--uid" not in called
    assert called.endswith(f" -- setpriv --reuid={2**30} --regid={2**30} --clear-groups -- {debian.path}/epmd")


def test_without_a_unit_a_user_who_is_not_root_starts_it_by_hand(
    debian: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "units").write_text(NO_UNITS)
    debian.has("epmd", starts=True)
    debian.has("systemd-run")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert debian.start(vm(uid=4711)).by_us
    assert debian.called[1:] == ["epmd -daemon"]


def test_a_host_of_systemd_without_systemctl(debian: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    (debian.path / "systemctl").unlink()
    monkeypatch.setattr(programs, "PATH", str(debian.path))
    debian.has("epmd", starts=True)
    assert debian.start(vm()).by_us


class TestContainer:
    """A node with a root directory of its own, which is ours here, but may have another init."""

    @pytest.fixture(autouse=True)
    def inside(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """For each program that was started there, whether as the node itself."""
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
        message = host.refusal(vm()._replace(pid=os.getpid()))
        assert message == "epmd is down, and only root may start it in the node's container: run with become"

    @pytest.mark.usefixtures("root")
    def test_it_is_started_there_as_the_node_itself(self, host: Host, inside: list[bool]) -> None:
        host.has("epmd", starts=True)
        assert host.start(vm()._replace(pid=os.getpid())).by_us
        assert host.called == ["epmd -daemon"]
        assert inside == [True]

    @pytest.mark.usefixtures("root")
    def test_a_container_that_can_not_be_entered_says_so(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> None:
            raise PermissionError

        monkeypatch.setattr(inside, "entrance", lambda _pid, **_how: refuse)
        host.has("epmd")
        message = host.refusal(vm()._replace(pid=os.getpid()))
        assert message == f"{host.path}/epmd -daemon could not be started: its container can't be entered"

    @pytest.mark.usefixtures("root")
    def test_its_own_systemd_starts_it(self, debian: Host, inside: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(namespaces, "shares", lambda _pid, kind: kind != "pid")
        assert debian.start(vm()._replace(pid=os.getpid())).by_us
        assert debian.called[-1] == "systemctl --no-ask-password start epmd.service"
        assert inside == [False] * len(debian.called)

    @pytest.mark.usefixtures("root", "inside")
    def test_without_a_unit_it_gets_one_with_the_numbers_of_its_user_there(
        self, debian: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "units").write_text(NO_UNITS)
        monkeypatch.setattr(namespaces, "shares", lambda _pid, kind: kind != "pid")
        monkeypatch.setattr(inside, "ids_inside", lambda _pid: inside.Ids(7, 8))
        debian.has("epmd")
        debian.has("systemd-run", starts=True)
        assert debian.start(vm(uid=100_007)._replace(pid=os.getpid())).by_us
        assert debian.called[-1].endswith(f" -- setpriv --reuid=7 --regid=8 --clear-groups -- {debian.path}/epmd")
