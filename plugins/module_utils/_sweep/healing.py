# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which losses the playbook recover may be run for, and when a person is called instead. Pure.

Standard: none but ours. Times are seconds since 1970. Private to the collection.
"""

from __future__ import annotations

from typing import Any, Sequence

from .._errors import InvalidOption
from .._limits import RECOVERY_SECONDS
from .._words import in_iso, number_of
from .ask import REFUSED
from .known import EPMD_DOWN, LOST, Event, moment

CALL = "call"


class Healing:
    """Grants recoveries: so many within a time for each host, and so many for the fleet. Zero: none, and no calls."""

    def __init__(self, per_host: int, per_fleet: int, within: float) -> None:
        self._per_host, self._per_fleet, self._within = per_host, per_fleet, within
        self.granted: list[tuple[float, str]] = []
        """When, and for which host, in the order of time."""
        self.open: dict[str, float] = {}
        """The hosts for which a recovery was granted that has not helped yet, and when."""
        self.called: dict[str, float] = {}
        """For which host, or for the fleet (""), a person was called about a limit, and when."""

    def judge(self, host: str, events: Sequence[Event], ailing: bool, now: float) -> list[Event]:
        """Mark each of the events of a host with whether to recover it, and return the calls for a person.

        One event at most is marked with True: one recovery is for the whole host. ailing: whether there is anything
        left there for a recovery to do.
        """
        calls: list[Event] = []
        if not ailing:
            self.open.pop(host, None)
        for event in events:
            event["heal"] = False
        if not (self._per_host and self._per_fleet):
            return calls
        since = self.open.get(host)
        could = [event for event in events if curable(event)]
        if since is not None and now - since >= RECOVERY_SECONDS:
            del self.open[host]
            calls.append(_call(now, host, "not_healed", f"{host} is not well {RECOVERY_SECONDS} s after recover"))
        elif since is None and could:
            self.granted = [(when, name) for when, name in self.granted if now - when < self._within]
            limit = self._limit(host)
            if limit is None:
                self.granted.append((now, host))
                self.open[host] = now
                could[0]["heal"] = True
            else:
                calls += self._call_once(*limit, host, now)
        return calls

    def _limit(self, host: str) -> tuple[str, int] | None:
        """The limit that keeps this host from a recovery: the host, or "" for the fleet, and how many it allows."""
        if len(self.granted) >= self._per_fleet:
            return "", self._per_fleet
        if sum(name == host for _when, name in self.granted) >= self._per_host:
            return host, self._per_host
        return None

    def _call_once(self, whose: str, number: int, host: str, now: float) -> list[Event]:
        called = self.called.get(whose)
        if called is not None and now - called < self._within:
            return []
        self.called = {name: when for name, when in self.called.items() if now - when < self._within}
        self.called[whose] = now
        times = f"{number_of(number, 'time')} within {self._within:g} s"
        if not whose:
            msg = f"recover was run {times}, the limit for the fleet; {host} is left alone, and so is what is lost next"
            return [_call(now, host, "fleet_limit", msg)]
        return [_call(now, host, "host_limit", f"recover was run {times} on {host}, the limit for a host")]

    def kept(self) -> dict[str, Any]:
        """What the state file has of it."""
        return {"granted": [list(grant) for grant in self.granted], "open": self.open, "called": self.called}

    def restore(self, kept: Any) -> None:
        """Go on from there. Errors: InvalidOption unless `kept` wrote it."""
        try:
            self.granted = [(moment(when), str(host)) for when, host in kept["granted"]]
            self.open = {str(host): moment(when) for host, when in kept["open"].items()}
            self.called = {str(host): moment(when) for host, when in kept["called"].items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise InvalidOption("it is not what a watch writes") from None


def curable(event: Event) -> bool:
    """Whether recover can do something about it: the node was not stopped, or epmd is down on a host that answers."""
    if event["type"] == LOST:
        return bool(event["expected"]) and event["node"] != "stopped"
    return bool(event["type"] == EPMD_DOWN and event["state"] == REFUSED and event["names"])


def _call(now: float, host: str, reason: str, msg: str) -> Event:
    see = "see what is lost, and bring it back: ansible-playbook beamops.epmd.sweep"
    return {"type": CALL, "host": host, "time": in_iso(now), "reason": reason, "msg": f"{msg}; {see}", "heal": False}
