# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights of a node: to read the files that it points to, and for programs that are started beside it.

Standard: credentials(7), capabilities(7); proc(5), `/proc/PID/status`. A process says itself where its home, its
release and its certificates are, so any user of a host could have root open somebody else's files. Private to the
collection.
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


class Confinement(NamedTuple):
    """What no program that a process starts can exceed.

    capabilities: the bounding set, as bits. no_new_privileges: setuid files have no effect.
    """

    capabilities: int
    no_new_privileges: bool


def ended(pid: int) -> EpmdError:
    """The error for a process that is no longer there."""
    return EpmdError(f"the process {pid} has ended meanwhile: run again")


def _status(pid: int) -> dict[str, list[str]]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return {name: words.split() for name, _colon, words in (line.partition(":") for line in file)}
    except OSError:
        raise ended(pid) from None


def confinement_of(pid: int) -> Confinement:
    """The confinement of a process. Errors: EpmdError where it has ended."""
    fields = _status(pid)
    return Confinement(int(fields["CapBnd"][0], 16), fields.get("NoNewPrivs", ["0"])[0] == "1")


def of_process(pid: int) -> Rights:
    """The rights of a process. Errors: EpmdError where it has ended."""
    fields = _status(pid)
    uid, gid = (int(fields[name][1]) for name in ("Uid", "Gid"))  # real, effective, saved, file system
    return Rights(uid, gid, [int(group) for group in fields.get("Groups", [])])


def pid_inside(pid: int) -> int:
    """The number of a process in its own process namespace (NSpid). Errors: EpmdError where it has ended."""
    return int(_status(pid).get("NSpid", [str(pid)])[-1])


def take(rights: Rights) -> None:
    """Give up what exceeds these rights, to read files. Who is not root has nothing to give up.

    Only the effective ids change: the real user stays root, so that the other one can't trace or signal this process,
    which therefore must run nothing that it reads. Errors: NotPermitted.
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
