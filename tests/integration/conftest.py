# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Erlang releases, and the module as a user runs it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT, COOKIE, RELEASES, Register
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp

pytest_plugins = [
    "ansible_collections.beamops.epmd.tests.integration.faults",
    "ansible_collections.beamops.epmd.tests.integration.kinds",
]


@pytest.fixture
def register(tmp_path: Path) -> Register:
    """The module, through `ansible`."""
    return Register(tmp_path)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "since(release): what it tests is there from this release of OTP on")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What of the documentation was not run as it is printed."""
    for report in terminalreporter.getreports("passed"):
        for key, value in report.user_properties:
            if key == "not run as printed":
                terminalreporter.write_line(f"{key}: {value}".replace(str(CHECKOUT), "CHECKOUT"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each release in turn, where the test wants one."""
    if "otp" in metafunc.fixturenames:
        first = max((mark.args[0] for mark in metafunc.definition.iter_markers("since")), default=0)
        releases = [release for release in RELEASES if release >= first]
        metafunc.parametrize("otp", releases, indirect=True, ids=lambda release: f"otp{release}")


@pytest.fixture
def otp(request: pytest.FixtureRequest) -> Otp:
    """The release of a test."""
    return Otp.of(request.param)


@pytest.fixture
def open_otp(otp: Otp) -> Iterator[Otp]:
    """The same where every user can reach it: a home is often closed."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield otp.copy(Path(directory) / "erlang")


@pytest.fixture
def epmd(otp: Otp) -> Iterator[Epmd]:
    """An epmd on a port of its own."""
    with otp.epmd() as running:
        yield running


@pytest.fixture
def node(otp: Otp, epmd: Epmd) -> Iterator[Node]:
    """A healthy node."""
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE) as running:
        yield running
