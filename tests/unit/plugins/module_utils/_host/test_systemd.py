# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit or the container of a process is read from its cgroup, and whether its end would be that of an epmd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import systemd
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import GONE


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/epmd.service\n", "epmd.service"),
        ("0::/system.slice/ejabberd.service\n", "ejabberd.service"),
        ("0::/system.slice/system-epmd.slice/epmd@0.0.0.0.service\n", "epmd@0.0.0.0.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app.service\n", "app.service"),
        ("12:cpu:/x\n1:name=systemd:/system.slice/rabbitmq-server.service\n0::/\n", "rabbitmq-server.service"),
        ("0::/\n", None),
        ("0::/docker/0123\n", "docker/0123"),
        ("0::/docker/0123/system.slice/epmd.service\n", "epmd.service"),
        ("0::/system.slice/docker-0123.scope\n", "docker-0123.scope"),
        ("0::/system.slice/docker-0123.scope/init.scope\n", "docker-0123.scope"),
        ("0::/machine.slice/libpod-0123.scope/container\n", "libpod-0123.scope"),
        ("0::/libpod_parent/libpod-0123\n", "libpod_parent/libpod-0123"),
        ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-0123.scope\n", "cri-containerd-0123.scope"),
        (f"0::/kubepods/besteffort/pod1/{'0f' * 32}\n", f"kubepods/besteffort/pod1/{'0f' * 32}"),
        (
            f"0::/system.slice/containerd.service/pod1:cri-containerd:{'0f' * 32}\n",
            f"system.slice/containerd.service/pod1:cri-containerd:{'0f' * 32}",
        ),
        ("0::/lxc.payload.box\n", "lxc.payload.box"),
        ("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "user@1000.service"),
        ("0::/init.scope\n", "init.scope"),
        ("0::/user.slice\n", None),
        ("", None),
        ("garbage\n", None),
    ],
)
def test_the_innermost_unit_counts(cgroup: str, unit: str | None) -> None:
    assert systemd.unit_in(cgroup) == unit


def test_the_unit_of_a_process_is_that_of_its_cgroup() -> None:
    assert systemd.unit_of(os.getpid()) == systemd.unit_in(Path("/proc/self/cgroup").read_text())
    assert systemd.unit_of(GONE) is None


@pytest.mark.parametrize(
    ("unit", "application"),
    [
        ("epmd.service", False),
        ("epmd@0.0.0.0.service", False),
        ("beamops-epmd-4370.service", False),
        ("ejabberd.service", True),
        ("epmdish.service", True),
        ("session-3.scope", True),
        ("user@1000.service", True),
        ("docker-0123.scope", True),
        ("docker/0123", True),
        ("run-r7.scope", True),
        ("beamops-epmd-4369-7.service", False),
        ("init.scope", False),
        (None, False),
    ],
)
def test_an_epmd_belongs_into_a_unit_of_its_own(unit: str | None, application: bool) -> None:
    assert systemd.is_application(unit) is application


def test_the_init_is_systemd_where_its_directory_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "BOOTED", str(tmp_path / "systemd"))
    assert not systemd.is_booted()
    (tmp_path / "systemd").mkdir()
    assert systemd.is_booted()


@pytest.mark.parametrize(
    ("unit", "container", "session"),
    [
        ("docker-0123.scope", True, False),
        ("cri-containerd-0123.scope", True, False),
        ("libpod-0123.scope", True, False),
        ("kubepods/pod1/0123", True, False),
        ("session-3.scope", False, True),
        ("user@1000.service", False, True),
        ("app.service", False, False),
        (None, False, False),
    ],
)
def test_what_else_keeps_an_epmd_alive(unit: str | None, container: bool, session: bool) -> None:
    assert (systemd.is_container(unit), systemd.is_session(unit)) == (container, session)


@pytest.mark.parametrize(
    ("unit", "members", "alone"),
    [
        ("rabbitmq-epmd.service", ["epmd"], True),
        ("rabbitmq-epmd.service", ["epmd", "epmd"], True),
        ("app.service", ["beam.smp", "epmd"], False),
        ("session-3.scope", ["epmd"], False),
        ("docker-0123.scope", ["epmd"], False),
    ],
)
def test_a_service_in_which_nothing_else_runs_is_a_unit_of_epmd(
    unit: str, members: list[str], alone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slice" / unit).mkdir(parents=True)
    (tmp_path / "slice" / unit / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in range(7, 7 + len(members))))
    monkeypatch.setattr(systemd, "CGROUPS", ("/no/such", str(tmp_path)))
    monkeypatch.setattr(systemd, "_cgroup", lambda _pid: f"0::/slice/{unit}\n")
    monkeypatch.setattr(systemd, "_name", lambda pid: members[pid - 7])
    assert systemd.keeps_epmd_alone(7, unit) is alone
    assert not systemd.keeps_epmd_alone(99, unit)  # a cgroup of the same name in another hierarchy
