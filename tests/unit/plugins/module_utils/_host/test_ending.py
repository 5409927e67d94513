# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process is ended, and how long that is waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._host import ending

OBEYS = "print(flush=True); input()"
IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); input()"


@contextlib.contextmanager
def process(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has started to wait."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as child:
        assert child.stdout
        child.stdout.readline()
        yield child
        child.kill()


@pytest.mark.parametrize(("code", "by"), [(OBEYS, signal.SIGTERM), (IGNORES, signal.SIGKILL)])
def test_a_process_is_ended_and_by_force_where_it_does_not_obey(code: str, by: signal.Signals) -> None:
    with process(code) as child:
        found = ending.running(child.pid)
        assert found
        ending.end(found, Deadline(10))
        assert child.wait() == -by
    assert ending.running(child.pid) is None


def test_one_that_has_ended_and_was_not_waited_for_does_not_run() -> None:
    with process(OBEYS) as child:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert ending.running(child.pid) is None


def test_a_later_process_with_the_same_pid_is_left_alone() -> None:
    with process(OBEYS) as child:
        found = ending.running(child.pid)
        assert found
        ending.end(found._replace(since=found.since - 1), Deadline(10))
        assert child.poll() is None


def test_its_start_is_told_by_the_clock() -> None:
    before = time.time()
    with process(OBEYS) as child:
        found = ending.running(child.pid)
        assert found
        assert before - 0.1 <= found.started <= time.time() + 0.1


def test_the_first_process_of_our_own_namespace_is_not_that_of_a_container() -> None:
    assert not ending.is_first_of_container(1)
    assert not ending.is_first_of_container(os.getpid())
    assert not ending.is_first_of_container(1 << 30)
