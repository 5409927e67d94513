# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a node points to with the node's own rights, and no more.

Standard: credentials(7); proc(5), `/proc/PID/status`. A process says itself where its home, its
release and its certificates are, so any user of a host could have root open somebody else's files.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from .._errors import EpmdError, NotPermitted


class Rights(NamedTuple):
    """Effective user, effective group and supplementary groups, as numbers."""

    uid: int
    gid: int
    groups: list[int]


class Limits(NamedTuple):
    """What limits a program that a process starts: capabilities that it can have, by bits; setuid without effect."""

    capabilities: int
    no_new_privileges: bool


def _status(pid: int) -> dict[str, list[str]]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return {name: words.split() for name, _colon, words in (line.partition(":") for line in file)}
    except OSError:
        raise EpmdError(f"the process {pid} has ended meanwhile: run again") from None


def limits_of(pid: int) -> Limits:
    """The limits of a process. Errors: EpmdError where it has ended."""
    fields = _status(pid)
    return Limits(int(fields["CapBnd"][0], 16), fields.get("NoNewPrivs", ["0"])[0] == "1")


def of_process(pid: int) -> Rights:
    """The rights of a process. Errors: EpmdError where it has ended."""
    fields = _status(pid)
    uid, gid = (int(fields[name][1]) for name in ("Uid", "Gid"))  # real, effective, saved, file system
    return Rights(uid, gid, [int(group) for group in fields.get("Groups", [])])


def take(rights: Rights) -> None:
    """Give up all other rights, for good: for a child that reads files. Only root can do this, and has to.

    Errors: NotPermitted.
    """
    if os.geteuid() != 0:
        return
    try:
        if os.getgroups() != rights.groups:
            os.setgroups(rights.groups)
        os.setegid(rights.gid)
        os.seteuid(rights.uid)
    except OSError as error:
        raise NotPermitted(
            f"files can't be read as user {rights.uid} may read them ({error.strerror}): run as root with all rights"
        ) from None
