# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit of a process is read from its cgroup, and the unit of an epmd from what systemctl shows."""

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
        ("0::/docker/0123\n", None),
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
        ("session-3.scope", False),
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


def test_a_unit_is_started_after_its_failures_are_forgotten() -> None:
    assert systemd.start_commands("epmd.service") == [
        ["systemctl", "--no-ask-password", "reset-failed", "epmd.socket", "epmd.service"],
        ["systemctl", "--no-ask-password", "start", "epmd.service"],
    ]


def executes(command: str) -> str:
    return (
        f"ExecStart={{ path={command.partition(' ')[0]} ; argv[]={command} ; ignore_errors=no ; start_time=[n/a] ; "
        "stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }\n"
    )


def show(*units: str) -> str:
    """Blocks are parted by an empty line, and the last one ends with a line end."""
    return "\n".join(units)


def socket(*listens: str) -> str:
    lines = "".join(f"Listen={listen}\n" for listen in listens)
    return f"{lines}Environment=\nId=epmd.socket\nLoadState=loaded\n"


def service(command: str = "/usr/bin/epmd -systemd", environment: str = "") -> str:
    return f"{executes(command)}Environment={environment}\nId=epmd.service\nLoadState=loaded\n"


NO_SOCKET = "Environment=\nId=epmd.socket\nLoadState=not-found\n"
NO_SERVICE = "Environment=\nId=epmd.service\nLoadState=not-found\n"
MASKED_SOCKET = "Environment=\nId=epmd.socket\nLoadState=masked\n"
MASKED_SERVICE = "Environment=\nId=epmd.service\nLoadState=masked\n"

DEBIAN = show(socket("[::]:4369 (Stream)"), service())
FEDORA = show(socket("127.0.0.1:4369 (Stream)"), service("/usr/bin/epmd -systemd"))
BOTH_LOOPBACKS = show(socket("127.0.0.1:4369 (Stream)", "[::1]:4369 (Stream)"), service())
SUSE = show(NO_SOCKET, service("/usr/sbin/epmd"))
WITH_PORT = show(NO_SOCKET, service("/usr/bin/epmd -port 4370 -relaxed_command_check"))


@pytest.mark.parametrize(
    ("shown", "port", "unit"),
    [
        pytest.param(DEBIAN, 4369, "epmd.service", id="Debian"),
        pytest.param(DEBIAN, 4370, None, id="Debian, other port"),
        pytest.param(DEBIAN, 369, None, id="Debian, end of the port"),
        pytest.param(DEBIAN, 436, None, id="Debian, start of the port"),
        pytest.param(DEBIAN, 14369, None, id="Debian, longer port"),
        pytest.param(FEDORA, 4369, "epmd.service", id="Fedora"),
        pytest.param(FEDORA, 4370, None, id="Fedora, other port"),
        pytest.param(BOTH_LOOPBACKS, 4369, "epmd.service", id="two addresses"),
        pytest.param(
            show(socket("127.0.0.1:4370 (Stream)", "127.0.0.1:4369 (Stream)"), service()),
            4369,
            "epmd.service",
            id="two ports, the second",
        ),
        pytest.param(
            show(socket("127.0.0.1:4370 (Stream)", "127.0.0.1:4369 (Stream)"), service()),
            4370,
            "epmd.service",
            id="two ports, the first",
        ),
        pytest.param(show(socket("[::]:4369 (Datagram)"), service()), 4369, None, id="no stream"),
        pytest.param(show(socket("/run/epmd.sock (Stream)"), service()), 4369, None, id="no port"),
        pytest.param(show(NO_SOCKET, NO_SERVICE), 4369, None, id="not found"),
        pytest.param(show(MASKED_SOCKET, MASKED_SERVICE), 4369, None, id="masked"),
        pytest.param(show(MASKED_SOCKET, NO_SERVICE), 4369, None, id="socket masked"),
        pytest.param(
            show("Listen=[::]:4369 (Stream)\nId=epmd.socket\nLoadState=bad-setting\n", NO_SERVICE),
            4369,
            None,
            id="bad setting",
        ),
        pytest.param(show(socket("[::]:4369 (Stream)"), NO_SERVICE), 4369, "epmd.socket", id="socket alone"),
        pytest.param(SUSE, 4369, "epmd.service", id="service alone"),
        pytest.param(SUSE, 4370, None, id="service alone, other port"),
        pytest.param(WITH_PORT, 4370, "epmd.service", id="service with -port"),
        pytest.param(WITH_PORT, 4369, None, id="service with -port, default port"),
        pytest.param(WITH_PORT, 437, None, id="service with -port, start of the port"),
        pytest.param(show(NO_SOCKET, service("/usr/bin/epmd -port 04370")), 4370, "epmd.service", id="-port 04370"),
        pytest.param(show(NO_SOCKET, service(f"/usr/bin/epmd -port {'4' * 5000}")), 4369, None, id="a long -port"),
        pytest.param(
            show(NO_SOCKET, service("/usr/bin/epmd", "ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=4370")),
            4370,
            "epmd.service",
            id="service with its port in the environment",
        ),
        pytest.param(
            show(NO_SOCKET, service("/usr/bin/epmd", "ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=4370")),
            4369,
            None,
            id="service with another port in the environment",
        ),
        pytest.param(
            show(NO_SOCKET, service("/usr/bin/epmd -port 4371", "ERL_EPMD_PORT=4370")),
            4371,
            "epmd.service",
            id="-port before the environment",
        ),
        pytest.param(show(service(), socket("[::]:4369 (Stream)")), 4369, "epmd.service", id="other order"),
        pytest.param("", 4369, None, id="nothing"),
        pytest.param("\n\n\n", 4369, None, id="empty lines"),
        pytest.param("Id=epmd.service\n", 4369, None, id="no state"),
        pytest.param("garbage", 4369, None, id="garbage"),
    ],
)
def test_the_unit_that_runs_epmd_on_this_port_is_chosen(shown: str, port: int, unit: str | None) -> None:
    assert systemd.choose_unit(shown, port) == unit


@pytest.mark.parametrize(
    "shown",
    [
        show(socket("[::]:4369 (Stream)"), MASKED_SERVICE),
        show(MASKED_SOCKET, service("/usr/bin/epmd -systemd")),
    ],
    ids=["service masked", "socket masked"],
)
def test_a_unit_that_systemd_would_refuse_to_start_is_not_chosen(shown: str) -> None:
    assert systemd.choose_unit(shown, 4369) is None
