# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an epmd is started, which here is a script that starts a fake one, and what is said where that fails.

Tests `_steps/epmd_in_unit.py`, too, with scripts that pose as systemctl and systemd-run. How such a program runs is in
`test_programs.py`, which unit is chosen in `test_epmd_units.py`. What only a real systemd or
a real container shows is in `tests/integration/test_systemd.py` and `test_containers.py`.
"""

from __future__ import annotations

import contextlib
import os
import pty
import pwd
import re
import shlex
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._errors import CannotStart, EpmdError, StillSilent
from ansible_collections.beamops.epmd.plugins.module_utils._host import (
    children,
    command_line,
    owners,
    programs,
    searches,
    systemd,
)
from ansible_collections.beamops.epmd.plugins.module_utils._host.vms import Vm
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import start_epmd
from ansible_collections.beamops.epmd.plugins.module_utils._steps.epmd_in_unit import OwnEpmd, Way
from ansible_collections.beamops.epmd.plugins.module_utils._steps.start_epmd import Started
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Daemon, State, Table
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom
from ansible_collections.beamops.epmd.tests.fakes import (
    FakeServer,
    NodePeer,
    answer,
    create_server,
    epmd,
    hang,
    node,
    rpc,
)
from ansible_collections.beamops.epmd.tests.nobody import NOBODY, as_nobody
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import AS_ROOT, apart

NO_UNITS = "Id=epmd.socket\nLoadState=not-found\n\nId=epmd.service\nLoadState=not-found\n"


def units(port: int) -> str:
    """What systemctl shows of Debian's units, on this port."""
    command = "{ path=/usr/bin/epmd ; argv[]=/usr/bin/epmd -systemd ; ignore_errors=no }"
    state = "LoadState=loaded\nActiveState=inactive\nUnitFileState=enabled\n"
    return (
        f"Listen=[::]:{port} (Stream)\nEnvironment=\nId=epmd.socket\n{state}\n"
        f"ExecStart={command}\nTriggeredBy=epmd.socket\nId=epmd.service\n{state}"
    )


def starting(path: Path) -> str:
    """The lines of a script that starts an epmd, and ends when that listens."""
    fifo, listens = (shlex.quote(str(path / name)) for name in ("fifo", "listens"))
    return f"printf 'start\\n' >{fifo}; read -r _ <{listens}"


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
        for entry in (path, path / "fifo"):  # for whoever is not root
            entry.chmod(0o777)
        os.mkfifo(path / "listens")
        self._waiting = threading.Thread(target=self._wait, daemon=True)
        self._waiting.start()

    def _wait(self) -> None:
        if (self.path / "fifo").read_text() == "start\n":
            self._epmd = FakeServer(epmd(self.names), self.daemon.port)
            (self.path / "listens").write_text("yes\n")

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
        say = starting(self.path) if starts else ""
        called = shlex.quote(str(self.path / "called"))
        file.write_text(f'#!/bin/sh\necho "{program} $*" >>{called}\n{script}\n{say}\n')
        file.chmod(0o755)

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
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host without systemd. Not below tmp_path, which only one user may enter."""
    with tempfile.TemporaryDirectory() as path:
        monkeypatch.setattr(programs, "PATH", f"{path}:/usr/bin:/bin")
        monkeypatch.setattr(systemd, "BOOTED", f"{path}/systemd")
        monkeypatch.setattr(start_epmd, "POLL_SECONDS", 0.001)
        found = Host(Path(path))
        yield found
        found.close()


@pytest.fixture
def debian(host: Host, tmp_path: Path) -> Host:
    """A host with systemd, and with Debian's units for the port of this epmd."""
    (host.path / "systemd").mkdir()
    (tmp_path / "units").write_text(units(host.daemon.port))
    (tmp_path / "state").write_text("ActiveState=active\nSubState=running\n")
    host.has("systemctl", systemctl(host, tmp_path))
    host.has("journalctl", "case $* in *sync*) ;; *) echo Started it.; echo no epmd today;; esac")
    return host


def systemctl(host: Host, path: Path, failure: str = "") -> str:
    """A script that shows the units and the state in this folder, and starts an epmd unless it fails."""
    shown = shlex.quote(str(path / "units"))
    return (
        f"case $* in *SubState*) cat {shlex.quote(str(path / 'state'))};; show*) cat {shown};; list-unit-files*) ;; "
        f"*reset-failed*) exit 1;; *start*) {failure or starting(host.path)};; esac"
    )


def vm(*flags: str, uid: int | None = None, executable: str | None = None, **environment: str) -> Vm:
    line = command_line.parse(["beam.smp", "--", *flags], environment)
    return Vm(None, os.geteuid() if uid is None else uid, "vic", executable, line)


def test_an_epmd_that_runs_by_now_is_not_started(host: Host) -> None:
    with FakeServer(epmd({"vic": 1}), host.daemon.port):
        assert host.start(vm()) == Started(Table(State.UP, {"vic": 1}), False)
    assert host.called == []


def test_of_nodes_that_share_an_epmd_one_starts_it(host: Host) -> None:
    host.has("epmd", starts=True)
    started = children.at_once(lambda _node: host.start(vm()), range(3), 60)
    assert [found.table for found in started if isinstance(found, Started)] == [Table(State.UP, {})] * 3
    assert [found.by_us for found in started if isinstance(found, Started)].count(True) == 1
    assert host.called == ["epmd -daemon"]


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


def test_nobody_but_root_starts_an_epmd_for_another(host: Host) -> None:
    host.has("epmd", starts=True)
    words = "only root or vic may start it as the node would: run with become"
    assert words in as_nobody(lambda: host.refusal(vm(uid=os.geteuid() + 1)))
    assert host.called == []
    assert as_nobody(lambda: host.start(vm())).by_us


def test_nobody_but_root_starts_an_epmd_in_a_container(host: Host) -> None:
    host.has("epmd", starts=True)
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    with apart("--user", "--pid", "--fork", become=become) as parent:
        (child,) = map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        message = as_nobody(lambda: host.refusal(vm()._replace(pid=child)))
    assert message == "epmd is down, and only root may start it in the node's container: run with become"
    assert host.called == []


@AS_ROOT
@pytest.mark.parametrize("uid", [NOBODY, 2**30])
def test_root_really_becomes_the_user_of_the_node(uid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not below tmp_path, which only root may enter."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        program = Path(directory) / "epmd"
        program.write_text("#!/bin/sh\n{ id -u; id -g; id -G; } >$0.ids\n")
        # BusyBox, as in Alpine, has a setpriv without --reuid.
        setpriv = Path(directory) / "setpriv"
        setpriv.write_text("#!/bin/sh\nexit 1\n")
        for file in (program, setpriv):
            file.chmod(0o755)
        monkeypatch.setattr(programs, "PATH", f"{directory}:{programs.PATH}")
        start_epmd._by_hand(
            OwnEpmd(str(program), 4369, uid, {"PATH": programs.PATH}),
            programs.Place(False, None, ""),
            Deadline(60),
        )
        gid = pwd.getpwuid(uid).pw_gid if uid == NOBODY else uid
        assert (Path(directory) / "epmd.ids").read_text() == f"{uid}\n{gid}\n{gid}\n"


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


DATED = "epmd: Thu Nov  6 18:23:46 2025: "


@pytest.mark.parametrize(
    ("script", "words"),
    [
        # With -daemon, it has no output, and its exit code says nothing.
        (f"[ -n \"$1\" ] || echo '{DATED}failed to bind socket: Cannot assign requested address' >&2", None),
        ('[ -n "$1" ] || { echo one; echo; echo two; echo three; echo four; exit 1; }', "one; two; three"),
        ("", "{} does not say why"),
    ],
    ids=["address", "several lines", "nothing"],
)
def test_an_epmd_that_ends_at_once_says_why(host: Host, script: str, words: str | None) -> None:
    host.has("epmd", script)
    begin = time.monotonic()
    message = host.refusal(vm(), Deadline(60))
    assert time.monotonic() - begin < 30
    expected = (words or "failed to bind socket: Cannot assign requested address").format(host.path / "epmd")
    assert message == f"epmd was started, but ended at once: {expected}"
    assert host.called == ["epmd -daemon", "epmd "]


def test_an_epmd_that_is_about_to_fork_is_there(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look finds neither its first child nor the second. A second epmd could take its port."""
    host.has("epmd")
    looks = [[], [], [os.getpid()]]  # before it is started, then twice
    monkeypatch.setattr(searches, "epmd_pids", lambda _port: looks.pop(0) if looks else [os.getpid()])
    assert "does not answer" in host.refusal(vm(), Deadline(1))
    assert host.called == ["epmd -daemon"]


def test_an_epmd_that_ends_at_once_changes_nothing(host: Host) -> None:
    host.has("epmd")
    with FakeServer(node(rpc(lambda *_given: Atom("erl_epmd")), NodePeer("vic@web1"))) as peer:
        options = Options(["vic"], port=peer.port, cookie="MonsterCookie", epmd_port=host.daemon.port, timeout=60)
        outcome = ensure(options, Mode.REPAIR)
    assert "ended at once" in outcome.msg
    assert (outcome.failed, outcome.changed, outcome.daemons[0]["started"]) == (True, False, False)


def test_the_words_of_the_linker_are_told(host: Host) -> None:
    host.has("epmd", "echo 'epmd: error while loading shared libraries: libx.so.0' >&2; exit 127")
    assert host.refusal(vm()) == (
        f"{host.path}/epmd -daemon ended with exit code 127: epmd: error while loading shared libraries: libx.so.0"
    )


def test_a_program_that_may_not_be_executed_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PATH", str(host.path))
    host.has("epmd")
    (host.path / "epmd").chmod(0o644)
    assert f"{host.path}/epmd can't be started: Permission denied" in host.refusal(vm())


@pytest.mark.parametrize(("pid", "kind"), [(7, StillSilent), (None, CannotStart)])
def test_an_epmd_that_is_silent_for_all_of_the_time_has_an_end_too(
    host: Host, pid: int | None, kind: type[EpmdError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is there afterwards was started."""
    monkeypatch.setattr(searches, "epmd_pid", lambda _port: pid)
    way = Way(lambda: "", " somehow")
    with FakeServer(hang, host.daemon.port), pytest.raises(kind, match="epmd was started somehow, but does not answer"):
        start_epmd.wait(host.daemon, way, Deadline(0.1))


def test_what_has_the_port_by_now_is_not_waited_for(host: Host) -> None:
    host.has("epmd")
    with FakeServer(answer(b"x"), host.daemon.port):
        assert "epmd was down, and gives no table now" in host.refusal(vm())
    assert host.called == []


def test_an_epmd_that_is_elsewhere_keeps_it_from_being_started(host: Host) -> None:
    host.has("epmd", starts=True)
    with create_server(("127.0.0.2", host.daemon.port)):
        message = host.refusal(vm())
    assert "where nothing listens, but something has that port at 127.0.0.2, so no epmd can be started" in message
    assert host.called == []


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


def test_an_epmd_on_a_file_system_that_hangs_has_an_end(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for one node alone, which is worked on in this process."""
    monkeypatch.setattr(os, "access", lambda *_given: time.sleep(3600))
    with FakeServer(node(rpc(lambda *_given: Atom("erl_epmd")), NodePeer("vic@web1"))) as peer:
        options = Options(["vic"], port=peer.port, cookie="MonsterCookie", epmd_port=host.daemon.port, timeout=0.5)
        outcome = ensure(options, Mode.REPAIR)
    assert (outcome.failed, outcome.changed, outcome.reason) == (True, False, "timeout")
    assert re.search(r": the work on it did not end within 0\.\d+ s: run again$", outcome.msg)


def test_an_epmd_that_was_started_in_vain_is_a_change(host: Host) -> None:
    host.has("epmd", starts=True)
    refusing = rpc(lambda *_given: (Atom("error"), Atom("econnrefused")))
    with FakeServer(node(refusing, NodePeer("vic@web1"))) as peer:
        options = Options(["vic"], port=peer.port, cookie="MonsterCookie", epmd_port=host.daemon.port, timeout=60)
        outcome = ensure(options, Mode.REPAIR)
    assert (outcome.failed, outcome.changed, outcome.daemons[0]["started"]) == (True, True, True)


@AS_ROOT
@pytest.mark.parametrize("program", ["systemctl", "systemd-run"])
def test_what_speaks_with_systemd_has_neither_our_environment_nor_our_terminal(
    host: Host, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container it is a program of the container: this one only looks."""
    monkeypatch.setenv("SECRET", "x")
    seen = shlex.quote(str(tmp_path / "seen"))
    (host.path / "systemd").mkdir()
    (tmp_path / "units").write_text(NO_UNITS)
    (tmp_path / "state").write_text("ActiveState=active\nSubState=running\n")
    host.has("epmd")
    look = f"env >>{seen}; cut -d ' ' -f 6,7 /proc/$$/stat >>{seen}; "
    host.has("systemctl", (look if program == "systemctl" else "") + systemctl(host, tmp_path))
    host.has("systemd-run", look if program == "systemd-run" else "", starts=True)
    with on_a_terminal():
        assert host.start(vm(uid=0)).by_us
    lines = (tmp_path / "seen").read_text().splitlines()
    assert {line.partition("=")[0] for line in lines if "=" in line} <= {"PATH", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}
    for line in lines:
        if "=" not in line:
            session, terminal = line.split()
            assert session != str(os.getsid(0))
            assert terminal == "0"


def test_a_unit_of_systemd_for_this_port_is_started(debian: Host) -> None:
    assert debian.start(vm()).by_us
    assert debian.called[0] == "systemctl list-unit-files --no-legend --no-pager *epmd*"
    assert debian.called[1].startswith("systemctl show --property=Id,")
    assert debian.called[2:4] == [
        "systemctl --no-ask-password reset-failed epmd.socket epmd.service",
        "systemctl --no-ask-password start epmd.service",
    ]


@pytest.mark.parametrize("state", ["ActiveState=failed", "ActiveState=activating\nSubState=auto-restart", ""])
def test_a_unit_that_ends_at_once_says_why_and_all_is_put_back(debian: Host, tmp_path: Path, state: str) -> None:
    (tmp_path / "state").write_text(f"{state}\n")
    debian.has("systemctl", systemctl(debian, tmp_path, ":"))
    assert debian.refusal(vm()) == (
        "its unit epmd.service was started, but ended at once: no epmd today: see journalctl -u epmd.service"
    )
    assert debian.called[5] == "systemctl --no-ask-password stop epmd.socket epmd.service"


def test_a_unit_that_can_not_be_started_says_why(debian: Host, tmp_path: Path) -> None:
    debian.has("systemctl", systemctl(debian, tmp_path, "echo Job for epmd.service failed. >&2; exit 1"))
    message = debian.refusal(vm())
    assert message.startswith("its unit epmd.service could not be started: Job for epmd.service failed.")
    assert message.endswith(": no epmd today: see journalctl -u epmd.service")
    assert debian.called[4] == "systemctl --no-ask-password stop epmd.socket epmd.service"


def test_where_systemd_listens_and_can_not_start_it_both_are_named(
    debian: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = units(debian.daemon.port)
    (tmp_path / "units").write_text("masked".join(shown.rsplit("loaded", 1)))
    monkeypatch.setattr(owners, "is_awaited", lambda _port: True)
    with FakeServer(hang, debian.daemon.port) as server:
        message = debian.refusal(vm())
        assert server.accepted == 0
    assert f"systemd listens on port {debian.daemon.port} itself" in message
    assert "(epmd.socket, epmd.service): unmask or fix the service, or stop its socket unit" in message


@AS_ROOT
def test_an_epmd_that_somebody_else_starts_meanwhile_is_not_taken_for_a_socket_of_systemd(debian: Host) -> None:
    debian.has("systemctl", f"case $* in *SubState*) echo ActiveState=active;; show*) {starting(debian.path)};; esac")
    debian.has("systemd-run")
    debian.has("epmd")
    assert debian.start(vm(uid=0)).table == Table(State.UP, {})


@AS_ROOT
def test_without_a_unit_for_this_port_root_makes_one(debian: Host, tmp_path: Path) -> None:
    (tmp_path / "units").write_text(NO_UNITS)
    debian.has("epmd")
    debian.has("systemd-run", starts=True)
    started = debian.start(vm(uid=0, ERL_EPMD_ADDRESS="127.0.0.1"))
    unit = f"beamops-epmd-{debian.daemon.port}-{os.getpid()}.service"
    until = "when epmd.socket or epmd.service is started, or with systemctl stop"
    assert (started.by_us, started.how) == (True, f" in {unit} (it ends {until} {unit})")
    rivals = "epmd.socket epmd.service"
    assert debian.called[2] == (
        f"systemd-run --unit={unit} --collect --quiet --uid=0 --setenv=ERL_EPMD_ADDRESS=127.0.0.1 "
        f"--setenv=PATH={programs.PATH} --setenv=ERL_EPMD_PORT={debian.daemon.port} "
        f"--property=Conflicts={rivals} --property=Before={rivals} -- {debian.path}/epmd"
    )


@AS_ROOT
def test_a_transient_unit_makes_room_for_those_that_are_not_used(debian: Host) -> None:
    debian.has("epmd")
    debian.has("systemd-run", starts=True)
    started = debian.start(vm(uid=0, ERL_EPMD_ADDRESS="127.0.0.1"))
    assert (
        "--property=Conflicts=epmd.socket epmd.service --property=Before=epmd.socket epmd.service" in (debian.called[2])
    )
    assert " (it ends when epmd.socket or epmd.service is started, or with systemctl stop beamops-" in started.how


@AS_ROOT
def test_a_transient_unit_that_ends_at_once_says_why(debian: Host, tmp_path: Path) -> None:
    (tmp_path / "units").write_text(NO_UNITS)
    (tmp_path / "state").write_text("ActiveState=inactive\nSubState=dead\n")
    debian.has("epmd")
    debian.has("systemd-run")
    unit = f"beamops-epmd-{debian.daemon.port}-{os.getpid()}.service"
    assert debian.refusal(vm(uid=0)) == f"epmd was started in {unit}, but ended at once: no epmd today"


@AS_ROOT
def test_a_node_in_a_network_of_its_own_gets_its_epmd_there(debian: Host) -> None:
    debian.has("epmd")
    debian.has("systemd-run", starts=True)
    assert debian.start(vm(uid=2**30)._replace(pid=os.getpid(), namespace=1)).by_us
    called = debian.called[0]
    assert f"--property=NetworkNamespacePath=/proc/{os.getpid()}/ns/net " in called
    # systemd knows no user without a name.
    assert "--uid" not in called
    assert called.endswith(f" -- setpriv --reuid={2**30} --regid={2**30} --clear-groups -- {debian.path}/epmd")


@contextlib.contextmanager
def on_a_terminal() -> Iterator[None]:
    """Have a terminal for standard input, as with `ssh -tt`."""
    outer, inner = pty.openpty()
    before = os.dup(0)
    os.dup2(inner, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        for descriptor in (outer, inner, before):
            os.close(descriptor)


def test_an_epmd_that_hangs_at_its_start_takes_no_time_from_the_nodes_of_another(host: Host, tmp_path: Path) -> None:
    """Nor does one whose work was killed while it started its epmd."""
    other = Host(tmp_path)
    host.has("epmd", f'[ "$ERL_EPMD_PORT" = {other.daemon.port} ] || exec sleep 3600; {starting(tmp_path)}')

    def die() -> None:
        with children.alone(8, Deadline(60)):
            os.kill(os.getpid(), signal.SIGKILL)

    def hang() -> None:
        start_epmd.start(vm(), host.daemon, 7, Deadline(3))

    def start() -> Started:
        return start_epmd.start(vm(), other.daemon, 8, Deadline(60))

    try:
        killed, hung, waited, fine = children.at_once(lambda work: work(), [die, hang, hang, start], 60)
    finally:
        other.close()
    assert "was killed by signal 9" in str(killed)
    assert isinstance(hung, EpmdError)
    assert isinstance(waited, EpmdError)
    assert fine == Started(Table(State.UP, {}), True)
