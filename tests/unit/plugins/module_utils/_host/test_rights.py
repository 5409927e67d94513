# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process's rights are read from the kernel, and taken in the order in which the kernel lets one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, NotPermitted
from ansible_collections.beamops.epmd.plugins.module_utils._host import rights
from ansible_collections.beamops.epmd.plugins.module_utils._host.rights import Rights


def test_the_rights_of_a_process_are_its_effective_ones() -> None:
    rights = rights.of_process(os.getpid())
    assert (rights.uid, rights.gid) == (os.geteuid(), os.getegid())
    assert sorted(rights.groups) == sorted(os.getgroups())


def test_a_process_that_has_ended_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    with pytest.raises(EpmdError, match=f"the process {ended.pid} has ended"):
        rights.of_process(ended.pid)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """What a root with the group 0 alone does with its rights; nothing is really given up."""
    found: list[tuple[str, object]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getgroups", lambda: [0])
    for name in ("setgroups", "setegid", "seteuid"):
        monkeypatch.setattr(os, name, lambda given, name=name: found.append((name, given)))
    return found


def test_the_user_comes_last_since_only_root_may_take_groups(done: list[tuple[str, object]]) -> None:
    rights.take(Rights(7, 8, [8, 9]))
    assert done == [("setgroups", [8, 9]), ("setegid", 8), ("seteuid", 7)]


def test_groups_that_are_there_already_are_not_asked_for(done: list[tuple[str, object]]) -> None:
    rights.take(Rights(7, 8, [0]))
    assert done == [("setegid", 8), ("seteuid", 7)]


def test_who_is_not_root_keeps_what_it_has(done: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    rights.take(Rights(8, 8, [8]))
    assert done == []


@pytest.mark.usefixtures("done")
def test_a_root_without_all_rights_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_uid: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "seteuid", refuse)
    with pytest.raises(NotPermitted, match="user 7 may read them \\(Operation not permitted\\)"):
        rights.take(Rights(7, 8, [0]))
