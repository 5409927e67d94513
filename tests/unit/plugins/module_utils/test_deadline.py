# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An absolute end counts down, by a clock that stands still."""

from __future__ import annotations

import time

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import TimedOut


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still: its one element is the time."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_deadline_counts_down_and_then_raises(clock: list[float]) -> None:
    deadline = Deadline(10)
    assert deadline.left() == 10
    clock[0] += 9.5
    assert deadline.left() == deadline.unused() == 0.5
    clock[0] += 0.5
    assert deadline.unused() == 0
    with pytest.raises(TimedOut, match="no answer within 10 s"):
        deadline.left()
    clock[0] += 1000
    assert deadline.unused() == 0
    with pytest.raises(TimedOut):
        deadline.left()


@pytest.mark.parametrize("seconds", [0, -1, -0.5])
def test_a_deadline_without_time_is_over_at_once(clock: list[float], seconds: float) -> None:
    assert clock
    with pytest.raises(TimedOut):
        Deadline(seconds).left()


def test_a_share_is_a_part_of_what_is_left(clock: list[float]) -> None:
    deadline = Deadline(10)
    clock[0] += 4
    assert deadline.share(3).left() == 2
    assert deadline.left() == 6
    clock[0] += 6
    with pytest.raises(TimedOut):
        deadline.share(3)
