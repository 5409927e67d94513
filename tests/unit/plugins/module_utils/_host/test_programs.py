# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs in the place where a node lives: what they get of us, what is taken of what they print, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import CannotStart, EpmdError
from ansible_collections.beamops.epmd.plugins.module_utils._host import inside, programs, systemd, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.programs import Place
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import AS_ROOT, GONE, forked

SELF = os.getpid()
HERE = Place(False, None, "")


def run(script: str, seconds: float = 60) -> str:
    return programs.run(HERE, ["sh", "-c", script], Deadline(seconds), "it failed")


class TestRun:
    def test_what_a_command_prints_is_taken_up_to_a_limit(self) -> None:
        assert run("echo one; echo two") == "one\ntwo\n"
        assert run("head -c 10000000 /dev/zero") == "\0" * _limits.MAX_COMMAND_OUTPUT

    def test_a_command_that_fails_says_its_first_line(self) -> None:
        with pytest.raises(CannotStart, match=r"^it failed: the cause(; run with become)?$"):
            run("echo the cause >&2; echo more; exit 3")
        with pytest.raises(CannotStart, match=r"^it failed: exit code 3"):
            run("exit 3")
        with pytest.raises(CannotStart, match=r"^it failed: No such file"):
            programs.run(HERE, ["/no/such/program"], Deadline(60), "it failed")

    @pytest.mark.parametrize("script", ["exec sleep 3600", "exec yes", "exec >&- 2>&-; exec sleep 3600"])
    def test_a_command_that_does_not_end_is_ended(self, script: str) -> None:
        with pytest.raises(CannotStart, match=r"^it failed: sh did not end within 0.2 s$"):
            run(script, 0.2)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_a_command_that_is_ended_takes_along_what_it_has_started(self) -> None:
        with pytest.raises(CannotStart):
            run("sleep 3600.25 & wait", 0.2)
        wait_until_none_runs("3600.25")

    def test_what_a_command_has_left_running_when_it_ends_goes_on(self) -> None:
        """As an epmd in the background."""
        pid = int(run("sleep 3600.5 >/dev/null 2>&1 & echo $!"))
        os.kill(pid, signal.SIGKILL)

    def test_a_command_gets_neither_our_environment_nor_our_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It may be somebody else's program, and what a task sets may be a password."""
        monkeypatch.setenv("SECRET", "x")
        lines = run("env; pwd; cut -d ' ' -f 7 /proc/self/stat; cut -d ' ' -f 6 /proc/self/stat").splitlines()
        assert {f"PATH={programs.PATH}", "LANG=C", "/"} <= set(lines)
        assert not [line for line in lines if line.startswith("SECRET")]
        # Its session is its own, which has no terminal (proc(5)).
        assert lines[-2] == "0"
        assert lines[-1] != str(os.getsid(0))


def wait_until_none_runs(argument: str) -> None:
    """Wait until no process has this argument: one that was killed takes a moment to end."""

    def runs() -> bool:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if argument.encode() in path.read_bytes().split(b"\0"):
                    return True
        return False

    end = time.monotonic() + 10
    while runs():
        assert time.monotonic() < end, f"{argument} still runs"
        time.sleep(0.01)


class TestRunAsNode:
    @pytest.fixture
    def started(self, monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
        """The commands that were started."""
        found: list[subprocess.Popen[bytes]] = []
        real = subprocess.Popen

        def noted(*command: Any, **options: Any) -> Any:
            found.append(real(*command, **options))
            return found[-1]

        monkeypatch.setattr(subprocess, "Popen", noted)
        return found

    def run(self, script: str, seconds: float = 60) -> None:
        programs.run_as_node(HERE, ["/bin/sh", "-c", script], {"A": "1"}, Deadline(seconds), "epmd -daemon")

    def test_a_command_has_the_environment_that_it_is_given(self, tmp_path: Path) -> None:
        self.run(f"echo $A $HOME >{tmp_path}/out; pwd >>{tmp_path}/out")
        assert (tmp_path / "out").read_text() == "1\n/\n"

    def test_a_command_that_fails_says_its_exit_code(self) -> None:
        with pytest.raises(CannotStart, match=r"^epmd -daemon ended with exit code 7$"):
            self.run("exit 7")

    def test_a_command_that_stays_in_the_foreground_is_ended(self, started: list[subprocess.Popen[bytes]]) -> None:
        with pytest.raises(CannotStart, match=r"^epmd -daemon did not go into the background within 0.2 s$"):
            self.run("exec sleep 3600", 0.2)
        (child,) = started
        assert child.returncode == -signal.SIGKILL

    def test_a_command_that_is_not_there_says_so(self) -> None:
        # CPython 3.7 adds which file.
        with pytest.raises(CannotStart, match=r"^epmd could not be started: No such file or directory"):
            programs.run_as_node(HERE, ["/no/such/program"], {}, Deadline(60), "epmd")


class TestPlace:
    def test_beside_us_it_is_ours(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(systemd, "BOOTED", str(tmp_path))
        vm = vms.UNKNOWN._replace(pid=SELF)
        assert programs.place_of(vms.UNKNOWN, Deadline(60)) == Place(True, None, "")
        assert programs.place_of(vm, Deadline(60)) == Place(True, None, "")
        assert programs.place_of(vm._replace(namespace=7), Deadline(60)) == Place(True, None, f"/proc/{SELF}/ns/net")
        monkeypatch.setattr(systemd, "BOOTED", str(tmp_path / "none"))
        assert programs.place_of(vm, Deadline(60)) == HERE

    @AS_ROOT
    def test_in_another_root_directory_it_is_a_container(self, tmp_path: Path) -> None:
        (tmp_path / "usr/bin").mkdir(parents=True)
        (tmp_path / "usr/bin/epmd").touch(0o755)
        (tmp_path / "run/systemd/system").mkdir(parents=True)
        with forked(lambda: os.chroot(tmp_path)) as pid:
            place = programs.place_of(vms.UNKNOWN._replace(pid=pid), Deadline(60))
            # What init it has is only known where it has processes of its own.
            assert place == Place(False, pid, "")
            assert programs.find(place, "epmd", [], Deadline(60)) == "/usr/bin/epmd"
            assert programs.find(place, "sh", ["/bin"], Deadline(60)) is None

    def test_programs_are_found_in_their_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(programs, "PATH", f"{tmp_path}/none:{tmp_path}/path")
        for name in ("path", "own"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "epmd").touch(0o755)
        assert programs.find(HERE, "epmd", [], Deadline(60)) == f"{tmp_path}/path/epmd"
        assert programs.find(HERE, "epmd", [f"{tmp_path}/own"], Deadline(60)) == f"{tmp_path}/own/epmd"
        (tmp_path / "own/epmd").chmod(0o644)
        assert programs.find(HERE, "other", [f"{tmp_path}/own"], Deadline(60)) is None
        assert programs.find(HERE, "epmd", [f"{tmp_path}/own"], Deadline(60)) == f"{tmp_path}/path/epmd"


class TestContainer:
    """Of which here only the entrance matters: what it does is in `test_inside.py`."""

    def test_a_container_that_can_not_be_entered_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def entrance(_pid: int, as_itself: bool) -> Callable[[], None]:
            def refuse() -> None:
                raise PermissionError(as_itself)

            return refuse

        monkeypatch.setattr(inside, "entrance", entrance)
        place = Place(False, SELF, "")
        with pytest.raises(CannotStart, match=r"^it failed: its container can't be entered$"):
            programs.run(place, ["true"], Deadline(60), "it failed")
        with pytest.raises(CannotStart, match=r"^epmd could not be started: its container can't be entered$"):
            programs.run_as_node(place, ["true"], {}, Deadline(60), "epmd")

    def test_a_container_that_has_ended_says_so(self) -> None:
        with pytest.raises(EpmdError, match=f"the process {GONE} has ended"):
            programs.run(Place(False, GONE, ""), ["true"], Deadline(60), "it failed")

    @AS_ROOT
    @pytest.mark.parametrize(
        "start",
        [
            lambda place, command, deadline: programs.run(place, command, deadline, "it failed"),
            lambda place, command, deadline: programs.run_as_node(place, command, {}, deadline, "epmd"),
        ],
        ids=["run", "run_as_node"],
    )
    @pytest.mark.parametrize("script", ["sleep 3600.75 & wait", "exec sleep 3600.75", "exec setsid sleep 3600.75"])
    def test_a_command_in_a_process_namespace_that_does_not_end_is_ended(
        self, start: Callable[[Place, list[str], Deadline], object], script: str
    ) -> None:
        """It is a child of a child: a process that joins such a namespace stays outside itself."""
        command = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "echo $$; exec sleep 600"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as outside:
            try:
                assert outside.stdout
                if outside.stdout.readline() != b"1\n":
                    pytest.skip("no namespace may be made here")
                place = Place(False, int(Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text()), "")
                with pytest.raises(CannotStart, match=r"within 0.5 s$"):
                    start(place, ["/bin/sh", "-c", script], Deadline(0.5))
                wait_until_none_runs("3600.75")
            finally:
                outside.kill()

    @AS_ROOT
    @pytest.mark.parametrize(("as_node", "uid"), [(False, "0"), (True, "65534")])
    def test_a_command_runs_as_root_there_or_as_the_node(self, as_node: bool, uid: str) -> None:
        with forked(lambda: os.setresuid(65534, 65534, 65534)) as pid:
            place = Place(False, pid, "")
            if as_node:
                command = ["sh", "-c", f"test $(id -u) = {uid}"]
                programs.run_as_node(place, command, {"PATH": programs.PATH}, Deadline(60), "epmd")
            else:
                assert programs.run(place, ["id", "-u"], Deadline(60), "it failed") == f"{uid}\n"
