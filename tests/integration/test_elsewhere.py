# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person runs on a distribution that is not here (tests/elsewhere), on those that are: it must work there."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import psutil
import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT, COOKIE, NEWEST, Register, lose_inside
from ansible_collections.beamops.epmd.tests.lab import Container, Otp, completed, system, wait_until

RUN = CHECKOUT / "tests/elsewhere/run"
CHECKS = 12


def summary(box: Container, directory: Path, **settings: str) -> tuple[int, list[str]]:
    """The exit code, and what is printed, for this container as the host. settings: of the environment."""
    inventory = directory / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": {"box": box.reached_from(directory)}}}))
    done = completed([RUN, "-i", inventory], env={**os.environ, **settings}, seconds=300)
    return done.returncode, done.stdout.splitlines()


def left(box: Container) -> tuple[object, ...]:
    """What a run has to leave as it was: processes and files."""
    return box.pids("epmd"), box.pids("beam.smp"), box.pids("sleep"), box.run(["ls", "/tmp"]).stdout


def test_it_passes_on_every_debian(otp: Otp, artifact: Path, tmp_path: Path) -> None:
    with Container(system(otp.release)) as box:
        wait_until(lambda: box.pids("sleep"), "the init to sleep")
        before = left(box)
        code, lines = summary(box, tmp_path, ARTIFACT=str(artifact))
        assert (code, lines[-1]) == (0, f"{CHECKS} passed, 0 failed"), lines
        assert re.fullmatch(rf"box: Debian .*, glibc .*, Linux .*, Python 3\..*, OTP {otp.release}, .*", lines[0])
        assert left(box) == before


@pytest.mark.one_release
@pytest.mark.since(25)  # whose epmd the module starts: see lose_inside
def test_the_programs_of_busybox_are_enough(
    otp: Otp, artifact: Path, register: Register, saw: Saw, tmp_path: Path
) -> None:
    """As in Alpine: BusyBox has a shell and a setpriv of its own, and an init that is not systemd."""
    with Container(system(otp.release)) as box:
        shutil.copy("/bin/busybox", box.root / "usr/local/bin/busybox")
        # The first in every PATH.
        box.run(["/usr/local/bin/busybox", "--install", "-s", "/usr/local/sbin"])
        assert "BusyBox" in box.run(["setpriv", "--help"]).stdout
        code, lines = summary(box, tmp_path, ARTIFACT=str(artifact))
        assert (code, lines[-1]) == (0, f"{CHECKS} passed, 0 failed"), lines

        with box.node("vic", release=otp.release, cookie=COOKIE, user="ejabberd") as node:
            verdict = lose_inside(box, otp.release)
            done = register(within=box.command([]), python="python3")
            assert (done.changed, done.node["registered"]) == (True, True), done.output
            assert box.names() == {"vic": node.port}
            (epmd,) = box.listeners(4369)
            assert psutil.Process(epmd).uids().effective == box.account("ejabberd").uid
    saw("target with the programs of BusyBox, node of another user", otp.release, f"{verdict}, registered again")


@NEWEST
def test_it_fails_where_the_collection_does(otp: Otp, tmp_path: Path) -> None:
    """It builds the artifact itself here, as a person has it do."""
    with Container(system(otp.release)) as box:
        # Half a Python: that of the shell script starts, and none of Ansible's.
        for path in box.root.glob("usr/lib/python3.*/json/__init__.py"):
            path.write_text("raise ImportError('half')")
        code, lines = summary(box, tmp_path)
        assert code == 1, lines
        assert re.fullmatch(r"0 passed, 2 failed", lines[-1]), lines
