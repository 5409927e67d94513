# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in the place of another process: what comes back, and what does not."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, NotPermitted
from ansible_collections.beamops.epmd.plugins.module_utils._host import files, inside, namespaces

SELF = os.getpid()


def test_one_of_our_own_is_no_other_place() -> None:
    assert namespaces.network_of(SELF) is None
    assert namespaces.shares_root(SELF)
    assert not namespaces.is_container(SELF)
    assert inside.with_files_of(SELF, 60, lambda: os.stat("/")) == os.stat("/")
    assert inside.with_files_of(None, 60, os.getpid) == SELF
    assert inside.ids_inside(SELF) == (os.geteuid(), os.getegid())


def test_one_that_has_ended_is_taken_for_one_of_ours() -> None:
    gone = 2**22 + 1
    assert namespaces.network_of(gone) is None
    assert namespaces.shares_root(gone)
    with pytest.raises(FileNotFoundError):
        inside.join_network(gone)


def test_another_place_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {f"/proc/{SELF}/ns/net": "net:[4026532000]", f"/proc/{SELF}/ns/pid": "pid:[4026532001]"}
    real = os.readlink
    monkeypatch.setattr(os, "readlink", lambda path: there.get(path) or real(path))
    assert namespaces.network_of(SELF) == 4026532000
    assert namespaces.is_container(SELF)
    assert not namespaces.shares_pids(SELF)
    assert namespaces.shares(SELF, "mnt")


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
@pytest.mark.parametrize("as_itself", [True, False])
def test_a_program_there_may_no_more_than_its_neighbours(as_itself: bool) -> None:
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


def test_a_process_is_moved_into_the_cgroups_of_its_neighbour(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Into each that may be written; of the others nothing is said."""
    theirs = {f"/proc/{SELF}/cgroup": "2:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/c\n"}
    for name, path in theirs.items():
        (tmp_path / name.strip("/")).parent.mkdir(parents=True)
        (tmp_path / name.strip("/")).write_text(path)
    for name in ("cpu,cpuacct/a", "c"):
        (tmp_path / "sys/fs/cgroup" / name).mkdir(parents=True)
    real = open
    monkeypatch.setattr("builtins.open", lambda path, *how, **options: real(f"{tmp_path}{path}", *how, **options))
    inside.move_to_cgroup(4711, SELF)
    monkeypatch.undo()
    for name in ("cpu,cpuacct/a", "c"):
        assert (tmp_path / "sys/fs/cgroup" / name / "cgroup.procs").read_text() == "4711"


def test_a_network_is_joined_by_who_may() -> None:
    if os.geteuid() != 0:
        with pytest.raises(NotPermitted, match=r"its network namespace can't be entered .* run with become"):
            inside.join_network(SELF)
    else:
        inside.join_network(SELF)
        assert namespaces.network_of(SELF) is None


def test_a_file_system_of_ours_that_hangs_has_an_end() -> None:
    with pytest.raises(EpmdError, match=r"did not end within 0.2 s"):
        inside.with_files_of(SELF, 0.2, lambda: time.sleep(3600))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[int]:
    """A process with this directory for its root, in which there is not even a /proc."""
    if os.geteuid() != 0:
        pytest.skip("only root may enter another root")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.chroot(tmp_path)
        os.close(writing)
        signal.pause()
    os.close(writing)
    os.read(reading, 1)  # until it is there
    os.close(reading)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_file_is_read_in_the_root_of_somebody_else(elsewhere: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("theirs")
    (tmp_path / "link").symlink_to("/file")
    for path in ("/file", "/link"):
        found = inside.with_files_of(elsewhere, 60, lambda path=path: files.read(path, 10))  # type: ignore[misc]
        assert found is not None
        assert found.content == b"theirs"
    with pytest.raises(FileNotFoundError):
        inside.with_files_of(elsewhere, 60, lambda: files.read("/etc/passwd", 10))


@pytest.mark.filterwarnings("ignore:sys.meta_path is empty:ImportWarning")
def test_nothing_is_imported_from_the_root_of_somebody_else(elsewhere: int, tmp_path: Path) -> None:
    """A module that Python looks for only then would be theirs, and would run as root."""
    name = "a_module_of_theirs"
    for directory in filter(None, sys.path):
        (tmp_path / directory.strip("/")).mkdir(parents=True, exist_ok=True)
        (tmp_path / directory.strip("/") / f"{name}.py").touch()
    assert f"{name}.py" in inside.with_files_of(elsewhere, 60, lambda: os.listdir(sys.path[-1]))
    with pytest.raises(EpmdError, match=f"ModuleNotFoundError: .*{name}"):
        inside.with_files_of(elsewhere, 60, lambda: importlib.import_module(name))


@pytest.mark.parametrize(("number", "inside"), [(100_000, 0), (100_999, 999), (165_536, 165_536), (0, 0)])
def test_a_number_in_a_user_namespace(
    number: int, inside: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "map").write_text("         0     100000      65536\n")
    real = open
    monkeypatch.setattr("builtins.open", lambda _path, **options: real(tmp_path / "map", **options))
    assert inside._mapped(1, "uid_map", number) == inside
