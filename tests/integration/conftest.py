# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Erlang releases, and the module as a user runs it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, Register
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp

pytest_plugins = ["ansible_collections.beamops.epmd.tests.integration.kinds"]

RELEASES = [int(release) for release in os.environ.get("BEAMOPS_RELEASES", "23 25 27").split()]


@pytest.fixture
def register(tmp_path: Path) -> Register:
    """The module, through `ansible`."""
    return Register(tmp_path)


@pytest.fixture(params=RELEASES, ids=lambda release: f"otp{release}")
def otp(request: pytest.FixtureRequest) -> Otp:
    """Each release in turn."""
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
