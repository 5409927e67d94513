# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks very many epmds, a bounded number of them at once. Private to the collection.

Standard: asyncio. It holds one question for each slot, however many hosts there are, and keeps no answer. Of the
controller each question takes a descriptor and, for its destination alone, a port; epmd closes first, so it is epmd's
host that keeps the connection in TIME_WAIT (RFC 9293, 3.6.1).
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
from typing import Callable, Iterable, Iterator

from .._errors import InvalidOption
from .._limits import MAX_SWEPT_AT_ONCE, MAX_TIMEOUT, SPARE_DESCRIPTORS, SPREAD_SECONDS
from .ask import Answer, ask
from .hosts import Target
from .resolve import Resolver


def check(timeout: float, at_once: int) -> None:
    """Refuse values that make no sense. Errors: InvalidOption."""
    if not 0 < timeout <= MAX_TIMEOUT:  # which NaN is not, either
        raise InvalidOption(f"timeout {timeout:g} is not a time to wait: give seconds above 0, up to {MAX_TIMEOUT}")
    if not 0 < at_once <= MAX_SWEPT_AT_ONCE:
        raise InvalidOption(f"at_once {at_once} is not a number of epmds: give 1 to {MAX_SWEPT_AT_ONCE}")


def slots(at_once: int) -> int:
    """How many can be asked at once: as many as wanted, or as this process has descriptors for. At least one."""
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return at_once
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError:  # not Linux
        used = 0
    return max(1, min(at_once, limit - used - SPARE_DESCRIPTORS))


async def sweep(
    targets: Iterable[Target], timeout: float, at_once: int, seen: Callable[[Target, Answer], object]
) -> None:
    """Ask each of these epmds once, and give each answer to `seen` as it comes.

    timeout: for each, in seconds. at_once: as `slots` has it.
    """
    waiting = iter(targets)
    resolver = Resolver()
    work = [asyncio.ensure_future(_slot(waiting, resolver, timeout, seen)) for _unused in range(at_once)]
    try:
        await asyncio.gather(*work)
    finally:
        for task in work:
            task.cancel()


async def _slot(
    waiting: Iterator[Target], resolver: Resolver, timeout: float, seen: Callable[[Target, Answer], object]
) -> None:
    await asyncio.sleep(random.uniform(0, SPREAD_SECONDS))
    for target in waiting:
        seen(target, await ask(target, resolver, timeout))
