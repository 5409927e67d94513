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
from ansible_collections.beamops.epmd.tests.nobody import as_nobody
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import AS_ROOT

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
    assert "files can't be read as user 7 may read them (Operation not permitted), because " in done.stderr.decode()
    assert "no CAP_SETUID, as in a container: add it (docker run --cap-add=SETUID), or run" in done.stderr.decode()


class TestCure:
    """What is said of a right that we lack, with the real rights of a child and with others."""

    @pytest.fixture
    def status(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
        """What the kernel says of us: root without any capability."""
        found = {"CapEff": ["0000000000000000"], "Seccomp": ["0"], "NSpid": ["7"]}
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(rights, "_status", lambda _pid: found)
        monkeypatch.setattr(rights, "_is_root_everywhere", lambda: True)
        return found

    @AS_ROOT
    def test_who_is_not_root_may_become_it(self) -> None:
        for say in (lambda: rights.cure(rights.SEE, "x"), lambda: rights.lack(rights.READ), rights.blindness):
            assert as_nobody(say) == ": run with become"

    @pytest.mark.usefixtures("status")
    @pytest.mark.parametrize(
        ("needed", "said"),
        [
            (
                rights.BECOME,
                "no CAP_SETUID and no CAP_SETGID, as in a container: add them (docker run --cap-add=SETUID",
            ),
            (
                rights.READ,
                "no CAP_DAC_READ_SEARCH, as in a container: add it (docker run --cap-add=DAC_READ_SEARCH), or",
            ),
        ],
    )
    def test_every_capability_that_is_missing_is_named(self, needed: tuple[str, ...], said: str) -> None:
        assert rights.cure(needed).startswith(f", because root has {said}")

    @pytest.mark.usefixtures("status")
    def test_the_ways_are_a_choice(self) -> None:
        assert rights.cure(("CAP_SYS_PTRACE",), "do x").endswith(
            ": do x, add it (docker run --cap-add=SYS_PTRACE), or run on the host"
        )

    def test_who_may_write_every_file_may_read_it(self, status: dict[str, list[str]]) -> None:
        status["CapEff"] = ["0000000000000002"]
        assert rights.lack(rights.READ) == ""
        assert "CAP_DAC" not in rights.lack(rights.SEE)

    def test_a_root_that_has_all_of_them_is_told_what_else_may_refuse(
        self, status: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        status["CapEff"] = ["000001ffffffffff"]
        status["Seccomp"] = ["2"]
        monkeypatch.setattr(rights, "_label", lambda: "")
        assert rights.lack(rights.SEE) == ""
        cure = ", although root has all capabilities for it (a seccomp filter is in force): run on the host"
        assert rights.cure(rights.SEE) == cure
        monkeypatch.setattr(rights, "_label", lambda: "docker-default (enforce)")
        assert "(it is confined as docker-default (enforce)): do x, or run on the host" in rights.cure(
            rights.SEE, "do x"
        )
        monkeypatch.setattr(rights, "_is_root_everywhere", lambda: False)
        assert rights.cure(rights.SEE).endswith(", as in a rootless container: run on the host as its root")

    @AS_ROOT
    def test_a_root_of_a_user_namespace_is_known_by_its_users(self) -> None:
        script = f"import sys; sys.path[:] = {sys.path!r}; from {rights.__name__} import cure, READ; print(cure(READ))"
        command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", script]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        assert "because root is root only in its user namespace" in done.stdout

    def test_in_a_process_namespace_of_our_own_others_run_outside(
        self, status: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        status["CapEff"] = ["000001ffffffffff"]
        links = {"/proc/self/ns/pid": "pid:[4026531836]"}
        monkeypatch.setattr(os, "readlink", links.__getitem__)
        assert rights.blindness() == ""
        links["/proc/self/ns/pid"] = "pid:[4026532999]"
        assert rights.blindness() == ", because it runs outside of this container: run on the host"


class TestAsItsUser:
    """Whether to become the user of a process helps to see it."""

    @pytest.fixture(autouse=True)
    def _host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Process 9 lives in a process namespace of its own, process 10 has ended."""
        found = {os.getpid(): ["7"], 8: ["8"], 9: ["9", "1"]}

        def status(pid: int) -> dict[str, list[str]]:
            if pid not in found:
                raise rights.ended(pid)
            return {"NSpid": found[pid]}

        monkeypatch.setattr(rights, "_status", status)
        monkeypatch.setattr(rights, "_is_mapped", lambda uid: uid != 65534)
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    @pytest.mark.parametrize(
        ("pid", "uid", "user", "helps"),
        [
            (8, 7, "them", True),
            (8, 0, "root", False),  # we are
            (8, 7, "7", False),  # it has no name
            (8, None, None, False),
            (8, 65534, "nobody", False),  # nobody knows who
            (9, 7, "them", False),  # a container, whose users have other names
            (10, 7, "them", False),
        ],
    )
    def test_only_for_a_user_of_ours(self, pid: int, uid: int | None, user: str | None, helps: bool) -> None:
        expected = "become the node's user (become_user: them)" if helps else ""
        assert rights.as_its_user(pid, uid, user) == expected


def test_on_the_host_every_user_is_mapped() -> None:
    assert rights._is_mapped(os.geteuid())
