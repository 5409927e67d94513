# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of Elixir: started by `elixir`, by `iex` in a terminal, and by the script of a release of mix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, Register, recover, rehearse
from ansible_collections.beamops.epmd.tests.lab import HOME_COOKIE, Elixir, Epmd, Node, Otp, Release, client_pings

pytestmark = pytest.mark.one_release


@pytest.fixture
def release(otp: Otp, tmp_path: Path) -> Release:
    """A release with a cookie in its releases/COOKIE."""
    return Release(otp, tmp_path / "shop", COOKIE)


@pytest.fixture(params=["elixir", "iex"])
def started(request: pytest.FixtureRequest, otp: Otp, epmd: Epmd) -> Iterator[Node]:
    """A node that was started by each of the programs."""
    elixir = Elixir(otp)
    start = elixir.node if request.param == "elixir" else elixir.iex
    with start("vic", epmd_port=epmd.port, cookie=COOKIE) as running:
        yield running


def test_elixir_and_iex(
    request: pytest.FixtureRequest, otp: Otp, epmd: Epmd, started: Node, register: Register, saw: Saw
) -> None:
    done = recover(register, epmd, started)
    assert client_pings(otp, started) == "pong"
    saw(f"Elixir, {request.node.callspec.params['started']}", otp.release, f"{done.node['verdict']}, registered again")


def test_the_variable_of_a_release_without_a_release(otp: Otp, epmd: Epmd, register: Register) -> None:
    """As in a container, where it is set for every process."""
    environment = {"RELEASE_COOKIE": "not-this-one"}
    with Elixir(otp).node("vic", epmd_port=epmd.port, cookie=COOKIE, env=environment) as node:
        recover(register, epmd, node)


@pytest.mark.parametrize(
    ("kind", "cookie"),
    [("releases/COOKIE", None), ("RELEASE_COOKIE", "another-cookie-that-nobody-may-see")],
    ids=["file", "environment"],
)
def test_a_release(
    otp: Otp, epmd: Epmd, release: Release, register: Register, saw: Saw, kind: str, cookie: str | None
) -> None:
    with release.start(epmd_port=epmd.port, cookie=cookie) as node:
        assert node.cookie == (cookie or COOKIE)
        (scratch,) = rehearse(register)
        assert scratch["program"].startswith(str(release.root))
        done = recover(register, epmd, node)
        assert node.cookie not in done.output
        assert release.ask(node, "pid") == str(node.pid)
        saw(f"Elixir, a release with its cookie in {kind}", otp.release, f"{done.node['verdict']}, registered again")


def test_a_release_whose_vm_args_have_a_cookie_too(
    otp: Otp, epmd: Epmd, release: Release, register: Register, saw: Saw
) -> None:
    """With two cookies on its command line a node ignores both, and takes that of its home (`auth.erl`)."""
    with release.start(epmd_port=epmd.port, cookie="not-this-one", vm_args="-setcookie nor-this-one\n") as node:
        assert node.cookie == HOME_COOKIE
        recover(register, epmd, node)
        saw("Elixir, a release with two cookies", otp.release, "registered again with that of its home")
