# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that somebody else may have put there: only regular ones are opened, and nothing is waited for or set off."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import files
from ansible_collections.beamops.epmd.plugins.module_utils._host.children import result_of
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import AS_ROOT


@pytest.mark.parametrize("size", [0, 99, 100, 101, 1000])
def test_a_file_is_read_up_to_one_byte_more_than_the_limit(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        found = files.read(str(tmp_path / name), 100)
        assert found is not None
        assert found.content == b"x" * min(size, 101)
        assert (found.status.st_ino, found.status.st_size) == (path.stat().st_ino, size)


def test_nothing_but_a_regular_file_is_opened(tmp_path: Path) -> None:
    """To open the device of a tape, for one, moves it."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")

    def opened() -> list[str]:
        """What a child opens that has no other files to read."""
        found: list[str] = []
        real = os.open

        def watched(path: str, flags: int) -> int:
            if not flags & os.O_PATH:
                found.append(path)
            return real(path, flags)

        os.open = watched  # type: ignore[assignment]
        for name in ("fifo", "device", "."):
            assert files.read(str(tmp_path / name), 100) is None
        return found

    assert result_of(opened, 60) == []


@pytest.mark.parametrize("name", ["missing", "a\0b", "a\ud800b", "x" * 5000])
def test_a_name_that_no_file_has_is_an_error_of_the_system(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 # any
        files.read(str(tmp_path / name), 100)
    assert caught.value.strerror
    assert isinstance(caught.value, FileNotFoundError) == (name == "missing")


@pytest.fixture
def leased(tmp_path: Path) -> Iterator[Path]:
    """A file whose owner wants to be asked before anybody else opens it, and does not answer."""
    path = tmp_path / "leased"
    path.write_text("x")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    with path.open("r+") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            pytest.skip("this file system has no leases")
        yield path
    signal.signal(signal.SIGIO, before)


def test_a_lease_is_not_waited_for(leased: Path) -> None:
    with pytest.raises(BlockingIOError):
        files.read(str(leased), 100)


@AS_ROOT
def test_a_file_is_read_also_in_another_root_without_proc(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    def read() -> tuple[bytes, bool]:
        files.before_another_root()
        os.chroot(tmp_path)
        found = files.read("/file", 10)
        return found.content if found else b"", os.path.exists("/proc")

    assert result_of(read, 60) == (b"x", False)
