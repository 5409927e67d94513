# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches very many epmds: each is asked once an interval, and what happens to their names becomes events.

Standard: asyncio. The questions are spread over the interval, so that the load is even. Private to the collection.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import heapq
import itertools
import json
import os
import random
import time
from typing import Any, Awaitable, Callable, Mapping

from .._errors import EpmdError, InvalidOption
from .._legible import all_legible
from .._limits import (
    ADDRESS_SECONDS,
    MAX_STATE_FILE,
    MAX_SWEPT_AT_ONCE,
    MAX_TIMEOUT,
    PROBE_SECONDS,
    SAVE_SECONDS,
    SILENCE,
    SOON_SECONDS,
)
from .._record import Record
from .._words import in_iso, number_of
from . import state_file
from .ask import REFUSED, UP, Answer, ask, runs
from .healing import Healing, curable
from .hosts import Target, targets, targets_of_inventory
from .known import EPMD, LOST, MOVED, Event, Known
from .resolve import Resolver
from .sweep import slots

Emit = Callable[[Event], Awaitable[None]]

_LOST = {
    "running": "its node runs on without the name",
    "stopped": "its node does not run any more",
    "unknown": "whether its node runs can't be seen from here",
}
_MOVED = "something still listens on the old port: two nodes may want this name"

MAX_SHOWN = 100
"""Hosts that one event names."""


class Options(Record):
    """The arguments of the event source, as its documentation has them."""

    hosts: Any = None
    hosts_file: str | None = None
    interval: float = 30
    grace: float = 60
    timeout: float = 10
    at_once: int = 500
    state_file: str | None = None
    heal_per_host: int = 2
    heal_per_fleet: int = 5
    heal_within: float = 3600


_NUMBERS: dict[str, tuple[type, float, float]] = {
    "interval": (float, 1, MAX_TIMEOUT),
    "grace": (float, 0, 86400),
    "timeout": (float, 0.001, MAX_TIMEOUT),
    "at_once": (int, 1, MAX_SWEPT_AT_ONCE),
    "heal_per_host": (int, 0, 1000),
    "heal_per_fleet": (int, 0, 1000),
    "heal_within": (float, 1, 31 * 86400),
}
"""Its type, the lowest and the highest."""


def options(arguments: Mapping[str, Any]) -> Options:
    """The arguments, checked. Errors: InvalidOption, with one sentence."""
    for name in arguments:
        if name not in Options._fields:
            like = difflib.get_close_matches(str(name), Options._fields, 1)
            raise InvalidOption(
                f"there is no argument {name}{f': did you mean {like[0]}?' if like else ''} "
                f"(there are {', '.join(Options._fields)})"
            )
    given = {name: value for name, value in arguments.items() if value is not None}
    if ("hosts" in given) == ("hosts_file" in given):
        raise InvalidOption("give either hosts, a list, or hosts_file, the path of a file with one")
    for name, bounds in _NUMBERS.items():
        if name in given:
            given[name] = _number(name, given[name], *bounds)
    for name in ("hosts_file", "state_file"):
        if name in given and not (isinstance(given[name], str) and given[name]):
            raise InvalidOption(f"{name} is {given[name]!r}: give the path of a file")
    return Options(**given)


def _number(name: str, value: Any, kind: type, lowest: float, highest: float) -> Any:
    """A number in these bounds, also where it was written as text, as templates do."""
    try:
        number = kind(value)
        if isinstance(value, bool) or not lowest <= number <= highest:
            raise ValueError
    except (TypeError, ValueError):
        raise InvalidOption(f"{name} is {value!r}: give {lowest:g} to {highest:g}") from None
    return number


def hosts_of_file(path: str) -> list[Target]:
    """The epmds that a file names: a list, as `targets` takes it, or what ansible-inventory --list prints.

    Errors: InvalidOption.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = json.loads(file.read(MAX_STATE_FILE))
    except OSError as error:
        raise InvalidOption(f"hosts_file {path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InvalidOption(f"hosts_file {path} is not JSON: write it with ansible-inventory --list") from None
    try:
        return targets_of_inventory(found) if isinstance(found, dict) else targets(found)
    except InvalidOption as error:
        raise InvalidOption(f"hosts_file {path}: {error}") from None


class Watch:
    """A watch over many epmds. emit: gets each event. now: the time, in seconds since 1970."""

    def __init__(self, wanted: Options, emit: Emit, now: Callable[[], float] = time.time) -> None:
        """Errors: InvalidOption for a list of hosts, or a state file, that can't be used."""
        self._options, self._emit, self._now = wanted, emit, now
        self._resolver = Resolver(keep=ADDRESS_SECONDS)
        self._healing = Healing(wanted.heal_per_host, wanted.heal_per_fleet, wanted.heal_within)
        self._known: dict[str, Known] = {}
        self._targets: dict[str, Target] = {}
        self._of_host: dict[str, list[str]] = {}
        self._due: list[tuple[float, int, str, Known]] = []
        self._broken: BaseException | None = None
        self._order = itertools.count()
        self._unheard: set[str] = set()
        self._first_round = True
        self._changed = False
        self._file_seen = self._file_age()
        found = hosts_of_file(wanted.hosts_file) if wanted.hosts_file else targets(wanted.hosts)
        kept = state_file.read(wanted.state_file) if wanted.state_file else None
        if wanted.state_file and kept is not None:
            try:
                self._known = {key: Known.of(each) for key, each in kept["epmds"].items()}
                self._healing.restore(kept["healing"])
            except (InvalidOption, AttributeError):
                raise state_file.damaged(wanted.state_file, "it is not what a watch writes") from None
        self._take(found)

    async def run(self) -> None:
        """Watch until cancelled."""
        free = asyncio.Semaphore(slots(self._options.at_once))
        asked: set[asyncio.Task[None]] = set()
        others = [asyncio.get_event_loop().create_task(work()) for work in (self._keep_state, self._follow_file)]
        for other in others:
            other.add_done_callback(self._note)
        try:
            while True:
                await self._until_due()
                _when, _order, key, known = heapq.heappop(self._due)
                await free.acquire()
                task = asyncio.get_event_loop().create_task(self._look(key, known))
                asked.add(task)
                for done in (asked.discard, self._note, lambda _done: free.release()):
                    task.add_done_callback(done)
        finally:
            for work in (*others, *asked):
                work.cancel()
            self._save()

    def _note(self, work: asyncio.Task[None]) -> None:
        """Of work that ended: keep the error, which is a mistake of ours."""
        if not work.cancelled() and work.exception():
            self._broken = work.exception()

    async def _until_due(self) -> None:
        while self._broken or not self._due or self._due[0][0] > time.monotonic():
            if self._broken:
                raise self._broken
            left = self._due[0][0] - time.monotonic() if self._due else SOON_SECONDS
            await asyncio.sleep(min(left, SOON_SECONDS))

    async def _look(self, key: str, known: Known) -> None:
        """Ask one epmd, tell what follows, and put it into the order again."""
        if self._known.get(key) is not known:
            return  # it was taken out of the list
        target = self._targets[key]
        answer = await ask(target, self._resolver, self._options.timeout)
        if self._known.get(key) is not known:
            return
        now, before = self._now(), known.kept()
        events = []
        for event in known.see(target, answer, now, self._options.grace):
            if await self._is_so(event, answer.address):
                events.append(event)
                if curable(event):
                    known.ill.add(event.get("name", EPMD))
        ailing = any(self._known[other].ill for other in self._of_host.get(target.name, ()))
        calls = self._healing.judge(target.name, events, ailing, now)
        self._changed |= bool(calls) or before != known.kept()
        for event in (*events, *calls):
            await self._tell(event)
        if self._known.get(key) is known:
            self._schedule(key, self._pause(known, answer, now))
        await self._first_look(key)

    async def _is_so(self, event: Event, address: str) -> bool:
        """Add what is known of the node. If it does not run on its old port, a new one is from a restart: no event."""
        if event["type"] not in (LOST, MOVED):
            return True
        port = event["was"] if event["type"] == MOVED else event["port"]
        event["node"] = await runs((address, port), PROBE_SECONDS) if port else "unknown"
        event["msg"] = _MOVED if event["type"] == MOVED else _LOST[event["node"]]
        return bool(event["type"] == LOST or event["node"] == "running")

    def _pause(self, known: Known, answer: Answer, now: float) -> float:
        """Until the next question: less if something is about to be told, more for those that only cost time."""
        wait = known.wait(now, self._options.grace)
        if wait is not None:
            return max(SOON_SECONDS, min(wait, self._options.interval))
        pause = self._options.interval * random.uniform(0.9, 1.1)
        return pause if answer.state in (UP, REFUSED) else pause * min(SILENCE, 2 ** min(known.silent, SILENCE))

    async def _first_look(self, key: str) -> None:
        """When all have been asked once, name those that have never answered: they are not watched."""
        if not self._first_round:
            return
        self._unheard.discard(key)
        if self._unheard:
            return
        self._first_round = False
        silent = sorted({target.name for key, target in self._targets.items() if not self._known[key].seen})
        if silent:
            number = number_of(len(silent), "host")
            msg = f"{number} did not answer (epmd may listen on loopback): watched from the first answer on"
            await self._tell(_news("unwatched", self._now(), msg, hosts=silent[:MAX_SHOWN], number=len(silent)))

    async def _tell(self, event: Event) -> None:
        host = {"meta": {"hosts": event["host"]}} if event.get("host") else {}
        await self._emit({"epmd": all_legible(event), **host})

    def _take(self, found: list[Target]) -> None:
        """Watch these and no others."""
        for key in set(self._known) - {target.key for target in found}:
            del self._known[key]
        old, self._targets = self._targets, {target.key: target for target in found}
        self._of_host = {}
        for target in found:
            self._of_host.setdefault(target.name, []).append(target.key)
            self._known.setdefault(target.key, Known())
        for target in found:
            if target.key not in old:
                self._schedule(target.key, random.uniform(0, self._options.interval))
        if self._first_round:
            self._unheard = set(self._targets)

    def _schedule(self, key: str, pause: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + pause, next(self._order), key, self._known[key]))

    async def _follow_file(self) -> None:
        """Take the list anew when the file has changed. One that can't be used is an event, and the old list stays."""
        while self._options.hosts_file:
            await asyncio.sleep(SOON_SECONDS)
            age = self._file_age()
            if age == self._file_seen:
                continue
            self._file_seen = age
            try:
                self._take(hosts_of_file(self._options.hosts_file))
            except EpmdError as error:
                await self._tell(_news("hosts_file", self._now(), f"{error}; the hosts before it are still watched"))

    def _file_age(self) -> tuple[int, int] | None:
        with contextlib.suppress(OSError, TypeError):
            status = os.stat(self._options.hosts_file or "")
            return status.st_mtime_ns, status.st_size
        return None

    async def _keep_state(self) -> None:
        while self._options.state_file:
            await asyncio.sleep(SAVE_SECONDS)
            try:
                self._save()
            except OSError as error:
                msg = f"state_file {self._options.state_file} can't be written: {error.strerror}"
                await self._tell(_news("state_file", self._now(), msg))
                self._changed = False  # until there is something new

    def _save(self) -> None:
        if self._options.state_file and self._changed:
            epmds = {key: known.kept() for key, known in self._known.items()}
            state_file.write(self._options.state_file, {"epmds": epmds, "healing": self._healing.kept()})
            self._changed = False


def _news(kind: str, now: float, msg: str, **more: Any) -> Event:
    """About the watch itself."""
    return {"type": kind, "time": in_iso(now), "msg": msg, "heal": False, **more}
