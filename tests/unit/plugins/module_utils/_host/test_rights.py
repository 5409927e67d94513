# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights of a process are read from the kernel, and taken for real, in a child."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, NotPermitted
from ansible_collections.beamops.epmd.plugins.module_utils._host import rights
from ansible_collections.beamops.epmd.plugins.module_utils._host.children import result_of
from ansible_collections.beamops.epmd.plugins.module_utils._host.rights import Confinement, Rights
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import AS_ROOT, as_nobody

SELF = os.getpid()


def test_the_rights_of_a_process_are_its_effective_ones() -> None:
    found = rights.of_process(SELF)
    assert (found.uid, found.gid) == (os.geteuid(), os.getegid())
    assert sorted(found.groups) == sorted(os.getgroups())


@AS_ROOT
def test_the_confinement_of_a_process_is_that_of_its_programs() -> None:
    ours = rights.confinement_of(SELF)
    limits = ["setpriv", "--bounding-set=-chown", "--no-new-privs"]
    with subprocess.Popen([*limits, "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            # CAP_CHOWN is bit 0 in linux/capability.h.
            assert rights.confinement_of(process.pid) == Confinement(ours.capabilities & ~1, True)
        finally:
            process.kill()
    assert not ours.no_new_privileges
    assert ours.capabilities & 1


def test_a_process_that_has_ended_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    for read in (rights.of_process, rights.confinement_of):
        with pytest.raises(EpmdError, match=f"the process {ended.pid} has ended"):
            read(ended.pid)


def taken(wanted: Rights) -> tuple[tuple[int, int, int], tuple[int, int, int], list[int]]:
    """The users, groups and supplementary groups of a child that has taken these rights."""

    def take() -> tuple[tuple[int, int, int], tuple[int, int, int], list[int]]:
        rights.take(wanted)
        return os.getresuid(), os.getresgid(), os.getgroups()

    return result_of(take, 60)


@AS_ROOT
def test_the_rights_are_taken_and_the_real_user_stays_root() -> None:
    """So that the user of a node can't trace the child that reads its files."""
    assert taken(Rights(7, 8, [8, 9])) == ((0, 7, 0), (0, 8, 0), [8, 9])
    assert taken(Rights(7, 8, [])) == ((0, 7, 0), (0, 8, 0), [])


@AS_ROOT
def test_groups_that_are_there_already_are_not_asked_for() -> None:
    """In a user namespace that forbids setgroups(2), that would be refused."""

    def work() -> list[int]:
        os.setgroups([8, 9])
        os.setgroups = None  # type: ignore[assignment]
        rights.take(Rights(7, 8, [8, 9]))
        return os.getgroups()

    assert result_of(work, 60) == [8, 9]


def test_who_is_not_root_keeps_its_rights() -> None:
    def work() -> bool:
        before = os.getresuid(), os.getresgid(), os.getgroups()
        rights.take(Rights(8, 8, [8]))
        return before == (os.getresuid(), os.getresgid(), os.getgroups())

    assert as_nobody(work)


@AS_ROOT
def test_a_root_without_all_rights_reads_nothing() -> None:
    """Of which a container may have no more."""
    script = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from {rights.__name__} import Rights, take; take(Rights(7, os.getegid(), os.getgroups()))"
    )
    command = ["setpriv", "--bounding-set=-setuid", sys.executable, "-c", f"import os; {script}"]
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert NotPermitted.__name__ in done.stderr.decode()
    assert "user 7 may read them (Operation not permitted): run as root with all rights" in done.stderr.decode()
