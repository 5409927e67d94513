# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests: real Erlang releases, and the modules as a user runs them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import (
    CHECKOUT,
    COOKIE,
    EVERY_RELEASE,
    RELEASES,
    AdHoc,
    Register,
)
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp

pytest_plugins = [
    "ansible_collections.beamops.epmd.tests.integration.differential",
    "ansible_collections.beamops.epmd.tests.integration.faults_table",
    "ansible_collections.beamops.epmd.tests.integration.kinds_table",
]


@pytest.fixture
def register() -> Register:
    """The modules, through `ansible`."""
    return Register()


@pytest.fixture
def ad_hoc(tmp_path: Path) -> AdHoc:
    """The same through `ansible`, for what is about the controller."""
    return AdHoc(tmp_path)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "since(release): for a feature of OTP that is there from this release on")
    config.addinivalue_line("markers", "one_release: the same on every release of OTP, so it runs on the newest alone")
    config.addinivalue_line("markers", "every_release: the releases between the oldest and the newest are like neither")
    config.addinivalue_line("markers", "test_all: takes a minute, and what it adds is rare: for `make test-all`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for `make test-all` alone."""
    if not EVERY_RELEASE:
        late = [item for item in items if item.get_closest_marker("test_all")]
        config.hook.pytest_deselected(items=late)
        items[:] = [item for item in items if item not in set(late)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the commands of the documentation that were not run as they are printed."""
    for report in terminalreporter.getreports("passed"):
        for key, value in report.user_properties:
            if key == "not run as printed":
                terminalreporter.write_line(f"{key}: {value}".replace(str(CHECKOUT), "CHECKOUT"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `otp` once for each release that may tell something new: the oldest and the newest.

    With BEAMOPS_EVERY_RELEASE, as in `make test-all`, it runs on all of them.
    """
    if "otp" not in metafunc.fixturenames:
        return
    first = max((mark.args[0] for mark in metafunc.definition.iter_markers("since")), default=0)
    releases = [release for release in RELEASES if release >= first]
    if metafunc.definition.get_closest_marker("one_release") and not EVERY_RELEASE:
        releases = releases[-1:]
    elif not metafunc.definition.get_closest_marker("every_release") and not EVERY_RELEASE:
        releases = sorted({*releases[:1], *releases[-1:]})
    metafunc.parametrize("otp", releases, indirect=True, ids=lambda release: f"otp{release}")


@pytest.fixture
def otp(request: pytest.FixtureRequest) -> Otp:
    """The release that this run of a test is for."""
    return Otp.of(request.param)


@pytest.fixture
def open_otp(otp: Otp) -> Iterator[Otp]:
    """The same, copied to a place that every user can read: a home is often closed."""
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


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact as `make build` builds it."""
    folder = tmp_path_factory.mktemp("dist")
    command = ["ansible-galaxy", "collection", "build", "--output-path", str(folder)]
    subprocess.run(command, check=True, cwd=CHECKOUT, capture_output=True, timeout=120)
    (made,) = folder.iterdir()
    return made
