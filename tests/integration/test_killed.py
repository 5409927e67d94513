# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed at some of its system calls, or whose calls the kernel refuses; `make killed` tries them all."""

from __future__ import annotations

import contextlib

import pytest

from ansible_collections.beamops.epmd.tests.integration import tables
from ansible_collections.beamops.epmd.tests.integration.killed import ACTIONS, NOT_REACHED, counts, fault, scene, spread
from ansible_collections.beamops.epmd.tests.integration.test_faults import LOST
from ansible_collections.beamops.epmd.tests.lab import NotTraceable, Otp


def test_a_run_that_is_disturbed_at_a_system_call(otp: Otp, request: pytest.FixtureRequest) -> None:
    """However it ends, it says so, the node and its epmd are in a good state, and the next run repairs."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(scene("host", otp))
        except NotTraceable as reason:
            pytest.skip(str(reason))
        points = found.points(listings=1)
        for number, action in enumerate(ACTIONS):
            tried = [found.attempt(point, action) for point in spread(points, number)]
            assert [(each.point, action, each.wrong) for each in tried if each.wrong] == []
            assert [each for each in tried if each.ending != NOT_REACHED]
            seconds = f"{max(each.seconds for each in tried):.1f}"
            verdict, words = LOST[otp.release > 23], counts(tables.DOCS)[action]
            tables.note(request, "faults", fault(action), f"OTP {otp.release}", verdict, words, seconds)
