# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in the place of another process: what comes back, and what does not."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import Ended, EpmdError, NotPermitted, TimedOut
from ansible_collections.beamops.epmd.plugins.module_utils._host import children, files, inside, namespaces, rights
from ansible_collections.beamops.epmd.tests.nobody import as_nobody
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import (
    AS_ROOT,
    GONE,
    apart,
    forked,
)

SELF = os.getpid()


class TestFiles:
    def test_those_of_a_process_beside_us_are_ours(self) -> None:
        assert inside.with_files_of(SELF, 60, lambda: os.stat("/")) == os.stat("/")
        assert inside.with_files_of(None, 60, lambda: os.stat("/")) == os.stat("/")

    def test_of_a_process_that_has_ended_there_are_none(self) -> None:
        with pytest.raises(EpmdError, match=f"^the process {GONE} has ended meanwhile: run again$"):
            inside.with_files_of(GONE, 60, lambda: None)

    @AS_ROOT
    def test_a_process_that_ends_before_its_root_is_entered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its rights were read by then."""
        monkeypatch.setattr(rights, "of_process", lambda _pid: rights.Rights(0, 0, []))
        monkeypatch.setattr(inside, "shares_root", lambda _pid: False)
        with pytest.raises(Ended, match=f"^the process {GONE} has ended meanwhile: run again$"):
            inside.with_files_of(GONE, 60, lambda: None)

    @pytest.mark.parametrize("pid", [SELF, None], ids=["beside us", "ourselves"])
    def test_a_file_system_of_ours_that_hangs_has_an_end(self, pid: int | None) -> None:
        with pytest.raises(TimedOut, match=r"did not end within 0.2 s"):
            inside.with_files_of(pid, 0.2, lambda: time.sleep(3600))

    @pytest.fixture
    def elsewhere(self, tmp_path: Path) -> Iterator[int]:
        """A process with this directory for its root, in which there is not even a /proc."""
        if os.geteuid() != 0:
            pytest.skip("only root may enter another root")
        with forked(lambda: os.chroot(tmp_path)) as pid:
            yield pid

    def test_a_file_is_read_in_the_root_of_somebody_else(self, elsewhere: int, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("theirs")
        (tmp_path / "link").symlink_to("/file")
        for path in ("/file", "/link"):
            found = inside.with_files_of(elsewhere, 60, lambda path=path: files.read(path, 10))  # type: ignore[misc]
            assert found is not None
            assert found.content == b"theirs"
        with pytest.raises(FileNotFoundError):
            inside.with_files_of(elsewhere, 60, lambda: files.read("/etc/passwd", 10))

    @pytest.mark.filterwarnings("ignore:sys.meta_path is empty:ImportWarning")
    def test_nothing_is_imported_from_the_root_of_somebody_else(self, elsewhere: int, tmp_path: Path) -> None:
        """A module that Python looks for only then would be theirs, and would run as root."""
        name = "a_module_of_theirs"
        for directory in filter(None, sys.path):
            (tmp_path / directory.strip("/")).mkdir(parents=True, exist_ok=True)
            (tmp_path / directory.strip("/") / f"{name}.py").touch()
        assert f"{name}.py" in inside.with_files_of(elsewhere, 60, lambda: os.listdir(sys.path[-1]))
        with pytest.raises(EpmdError, match=f"this Python can't import {name}"):
            inside.with_files_of(elsewhere, 60, lambda: importlib.import_module(name))

    @AS_ROOT
    def test_a_file_is_read_with_the_rights_of_the_process(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("root's")
        (tmp_path / "secret").chmod(0o400)
        tmp_path.chmod(0o755)
        with forked(lambda: os.setresuid(65534, 65534, 65534)) as pid, pytest.raises(PermissionError):
            inside.with_files_of(pid, 60, lambda: files.read(str(tmp_path / "secret"), 10))


class TestNetwork:
    def test_that_of_a_process_that_has_ended_can_not_be_joined(self) -> None:
        with pytest.raises(Ended):
            inside.join_network(GONE)

    @AS_ROOT
    def test_root_may_join_it(self) -> None:
        with apart("--net") as pid:

            def joined() -> bool:
                assert namespaces.network_of(pid) is not None
                inside.join_network(pid)
                return namespaces.network_of(pid) is None

            assert children.result_of(joined, 60)

    def test_nobody_else_may_join_it(self) -> None:
        with pytest.raises(NotPermitted, match=r"its network namespace can't be entered .* run with become"):
            as_nobody(lambda: inside.join_network(os.getpid()))


@AS_ROOT
@pytest.mark.parametrize("as_itself", [True, False])
def test_a_program_there_has_no_more_rights_than_its_neighbours(as_itself: bool) -> None:
    """The neighbour lacks a capability, and what setuid files would give it."""
    limits = ["setpriv", "--bounding-set=-sys_admin", "--no-new-privs", "--reuid=65534", "--clear-groups"]
    command = [*limits, "sh", "-c", "echo up; exec sleep 600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as neighbour:
        try:
            assert neighbour.stdout
            assert neighbour.stdout.readline() == b"up\n"
            enter = inside.entrance(neighbour.pid, as_itself)
            shown = subprocess.run(["cat", "/proc/self/status"], preexec_fn=enter, stdout=subprocess.PIPE, check=True)
            theirs = status(Path(f"/proc/{neighbour.pid}/status").read_bytes())
        finally:
            neighbour.kill()
    ours, found = status(Path("/proc/self/status").read_bytes()), status(shown.stdout)
    for name in ("CapBnd", "NoNewPrivs"):
        assert found[name] == theirs[name] != ours[name]
    assert found["Uid"].split()[0] == ("65534" if as_itself else "0")


def status(text: bytes) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text.decode().splitlines())


class TestIds:
    def test_those_of_a_process_beside_us_are_ours(self) -> None:
        assert inside.ids_inside(SELF) == (os.geteuid(), os.getegid())

    def test_a_process_that_has_ended_has_none(self) -> None:
        for read in (inside.ids_inside, lambda pid: inside._map(pid, "uid_map")):
            with pytest.raises(EpmdError, match=f"^the process {GONE} has ended meanwhile: run again$"):
                read(GONE)

    @pytest.mark.parametrize(
        ("outside", "number"), [(100_000, 0), (100_999, 999), (165_535, 65_535), (165_536, 165_536), (0, 0), (7, 70)]
    )
    def test_a_number_in_a_user_namespace(self, outside: int, number: int) -> None:
        assert (
            namespaces.mapped("         0     100000      65536\n        70          7          1\n", outside) == number
        )


class TestCgroups:
    def test_each_hierarchy_has_a_file_of_its_members(self) -> None:
        assert inside.member_files("2:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/c\n") == [
            "/sys/fs/cgroup/cpu,cpuacct/a/cgroup.procs",
            "/sys/fs/cgroup/systemd/b/cgroup.procs",
            "/sys/fs/cgroup/c/cgroup.procs",
        ]

    def test_a_process_is_moved_into_those_of_its_neighbour(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Into each that may be written; the others are passed over."""
        monkeypatch.setattr(inside, "CGROUPS", str(tmp_path / "cgroup"))
        inside.move_to_cgroup(4711, SELF)
        inside.move_to_cgroup(4711, GONE)
        assert list(tmp_path.iterdir()) == []
        *_missing, last = inside.member_files(Path("/proc/self/cgroup").read_text())
        Path(last).parent.mkdir(parents=True, exist_ok=True)
        inside.move_to_cgroup(4711, SELF)
        assert Path(last).read_text() == "4711"
