# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations -> verdicts. Pure: what is known of a node and of its epmd goes in, nothing is asked. Private.

Standard: the table of verdicts in the documentation of `epmd_register`. `unregistered.py` has those on nodes that are
not registered.
"""

from __future__ import annotations

from typing import Iterable

from .records import (
    BORROWED,
    CONFLICT,
    EPMD_DOWN,
    EPMD_UNRESPONSIVE,
    MISSING,
    NOT_APPLICABLE,
    REGISTERED,
    UNIDENTIFIED,
    Diagnosis,
    Finding,
    Observation,
)

__all__ = [  # the verdicts, which belong to the records
    "BORROWED",
    "CONFLICT",
    "EPMD_DOWN",
    "EPMD_UNRESPONSIVE",
    "MISSING",
    "NOT_APPLICABLE",
    "REGISTERED",
    "UNIDENTIFIED",
]

BLOCKED = (BORROWED, CONFLICT, EPMD_UNRESPONSIVE)
"""Somebody or something else is in the way: who, is said beside the verdict."""


def diagnose(observations: Iterable[Observation]) -> list[Finding]:
    """The verdict on each node."""
    return [Finding(observation, verdict_on(observation)) for observation in observations]


def verdict_on(seen: Observation) -> Diagnosis:
    """The verdict on one node.

    Flags decide nothing alone: a port that epmd has under the node's name is registered whatever they say.
    """
    if seen.obstacle is None and seen.is_registered:
        return _registered(seen)
    from . import unregistered

    return unregistered.verdict_on(seen)


def _registered(seen: Observation) -> Diagnosis:
    if seen.holds is False:
        return Diagnosis(
            BORROWED,
            f"epmd has the name {seen.alive}, but not from the node itself: it goes when its holder goes",
        )
    return Diagnosis(REGISTERED, f"epmd has the name {seen.alive} with port {seen.port}")
