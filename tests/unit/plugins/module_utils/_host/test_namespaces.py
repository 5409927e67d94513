# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which namespaces of a process are ours, and which root directory: on real processes in real namespaces."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import namespaces
from ansible_collections.beamops.epmd.tests.nobody import as_nobody
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import (
    AS_ROOT,
    GONE,
    apart,
    forked,
)

SELF = os.getpid()


@pytest.mark.parametrize("pid", [SELF, GONE], ids=["beside us", "ended"])
def test_a_process_beside_us_or_one_that_has_ended_is_one_of_ours(pid: int) -> None:
    assert namespaces.network_of(pid) is None
    assert namespaces.shares_root(pid)
    assert not namespaces.is_container(pid)
    assert namespaces.shares(pid, "pid")
    assert namespaces.shares(pid, "mnt")


@AS_ROOT
def test_another_network_has_its_number() -> None:
    with apart("--net") as pid:
        number = namespaces.network_of(pid)
        assert os.readlink(f"/proc/{pid}/ns/net") == f"net:[{number}]"
        assert not namespaces.shares(pid, "net")
        assert not namespaces.is_container(pid)
        assert as_nobody(lambda: namespaces.network_of(pid)) is None


@AS_ROOT
def test_a_process_namespace_makes_a_container() -> None:
    # unshare(1) itself stays outside, and its child is inside.
    with apart("--pid", "--fork") as parent:
        child = int(Path(f"/proc/{parent}/task/{parent}/children").read_text())
        assert not namespaces.shares(child, "pid")
        assert namespaces.is_container(child)
        assert namespaces.shares_root(child)
        assert namespaces.network_of(child) is None


@AS_ROOT
def test_a_root_directory_makes_a_container(tmp_path: Path) -> None:
    with forked(lambda: os.chroot(tmp_path)) as pid:
        assert not namespaces.shares_root(pid)
        assert namespaces.is_container(pid)
        assert namespaces.shares(pid, "pid")


@AS_ROOT
def test_private_mounts_make_none() -> None:
    """PrivateTmp= of systemd."""
    with apart("--mount") as pid:
        assert not namespaces.shares(pid, "mnt")
        assert namespaces.shares_root(pid)
        assert not namespaces.is_container(pid)
