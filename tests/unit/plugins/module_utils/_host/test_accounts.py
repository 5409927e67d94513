# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The passwd of a container is read without being led astray. With a real container in `test_containers.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import accounts, namespaces

USERS = "root:x:0:0::/root:/bin/sh\nshort\n:x:7:7::/:\nejabberd:x:7:7::/:\nlast:x:7:7::/:\n"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    directory = tmp_path / "etc"
    directory.mkdir()
    return directory


def test_the_name_of_a_user_is_that_of_the_container(
    tmp_path: Path, etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (etc / "passwd").write_text(USERS)
    found = accounts.passwd(str(tmp_path))
    monkeypatch.setattr(accounts, "passwd", lambda _root: found)
    assert [accounts.name_in(os.getpid(), uid) for uid in (0, 7, 8)] == ["root", "ejabberd", "8"]
    # A user namespace numbers its users itself.
    monkeypatch.setattr(namespaces, "mapped", lambda _map, uid: uid - 100_000)
    assert accounts.name_in(os.getpid(), 100_007) == "ejabberd"


def test_a_process_that_has_ended_has_no_names() -> None:
    assert accounts.name_in(2**22 + 1, 7) == "7"


def test_a_link_is_not_followed_out_of_the_container(tmp_path: Path, etc: Path) -> None:
    (etc / "passwd").symlink_to("/etc/passwd")
    assert accounts.passwd(str(tmp_path)) == b""
    (etc / "passwd").unlink()
    etc.rmdir()
    etc.symlink_to("/etc")
    with pytest.raises(OSError, match="Not a directory"):
        accounts.passwd(str(tmp_path))


def test_what_is_no_file_is_not_opened(tmp_path: Path, etc: Path) -> None:
    os.mkfifo(etc / "passwd")
    assert accounts.passwd(str(tmp_path)) == b""
