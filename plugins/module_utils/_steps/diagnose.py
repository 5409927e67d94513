# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations -> verdict. Pure: what is known of a node and of its epmd goes in, nothing is asked.

Standard: the table of verdicts in the documentation of the module.
"""

from __future__ import annotations

from typing import NamedTuple

from .._wire.epmd_client import Table

REGISTERED = "registered"
MISSING = "missing"
BORROWED = "borrowed"
CONFLICT = "conflict"
EPMD_DOWN = "epmd_down"
EPMD_UNRESPONSIVE = "epmd_unresponsive"
NOT_APPLICABLE = "not_applicable"
UNIDENTIFIED = "unidentified"

REPAIRABLE = (MISSING, EPMD_DOWN)
IN_OTHER_HANDS = (BORROWED, CONFLICT, EPMD_UNRESPONSIVE)


class Observation(NamedTuple):
    """What was seen of one node.

    said_name: name on its command line, with or without host. name: the full name from its
    challenge. trouble: why there was no challenge. is_node: whether what answers is a node, None
    where nothing does. port: its distribution port, or the likeliest one where it did not answer,
    None where no listener can be it. exempt: why it has no use for epmd.
    epmd_optional: why it can do without epmd. table: what epmd has. holds: whether its
    registration is on a connection of the node itself, None where there is none or that can't be seen.
    """

    said_name: str | None
    name: str | None
    trouble: str
    is_node: bool | None
    port: int | None
    exempt: str
    epmd_optional: str
    table: Table
    holds: bool | None

    @property
    def alive(self) -> str | None:
        """The name as epmd knows it: without the host."""
        name = self.name or self.said_name
        return name.partition("@")[0] if name else None

    @property
    def is_registered(self) -> bool:
        """Whether epmd has its name with its port, whoever holds it."""
        return self.port is not None and (self.table.names or {}).get(str(self.alive)) == self.port


class Diagnosis(NamedTuple):
    """A verdict, and what was seen in a few words."""

    verdict: str
    msg: str


def diagnose(seen: Observation) -> Diagnosis:
    """The verdict on one node."""
    if seen.exempt:
        return Diagnosis(NOT_APPLICABLE, seen.exempt)
    if seen.port is None:
        where = seen.trouble or "it listens nowhere"
        return Diagnosis(NOT_APPLICABLE, f"{where}, so no other node can connect to it")
    if seen.alive is None and seen.is_node is False:
        return Diagnosis(NOT_APPLICABLE, f"it was started without a name, and is no node now ({seen.trouble})")
    if seen.alive is None:
        return Diagnosis(UNIDENTIFIED, f"no node answers, {seen.trouble}")
    if seen.table.trouble:
        return Diagnosis(EPMD_UNRESPONSIVE, f"epmd gives no table: {seen.table.trouble}")
    if seen.table.names is None:
        if seen.epmd_optional:
            return Diagnosis(NOT_APPLICABLE, seen.epmd_optional)
        return Diagnosis(EPMD_DOWN, "epmd is down")
    registered = seen.table.names.get(str(seen.alive))
    if registered is None:
        return Diagnosis(MISSING, f"epmd has no name {seen.alive}")
    if registered != seen.port:
        return Diagnosis(
            CONFLICT,
            f"epmd has the name {seen.alive} with port {registered}, but the node listens on port {seen.port}",
        )
    if seen.holds is False:
        return Diagnosis(
            BORROWED,
            f"epmd has the name {seen.alive}, but not from the node itself: it goes when its holder goes",
        )
    return Diagnosis(REGISTERED, f"epmd has the name {seen.alive} with port {registered}")
