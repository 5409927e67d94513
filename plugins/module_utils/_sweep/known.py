# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of one watched epmd, and which events follow from what it answers now. Pure.

Standard: none but ours. Times are seconds since 1970, so that they mean the same after a restart. Private to the
collection.

A name is held once it was seen twice, or is expected. A held name that is gone, or an epmd that gives no table, is an
event only after the grace period: a node that is restarted is back by then, and nothing is said. An epmd that was never
seen cannot be told from one on loopback: nothing is said of it, either.
"""

from __future__ import annotations

from typing import Any, Dict

from .._errors import InvalidOption
from .._limits import FORGOTTEN_SECONDS
from .._words import in_iso
from .ask import UP, Answer
from .hosts import Target, compare

LOST, BACK, MOVED, EPMD_DOWN, EPMD_UP = "lost", "back", "moved", "epmd_down", "epmd_up"

EPMD = ""
"""In the place of a name: epmd itself."""

Event = Dict[str, Any]
"""As a rule gets it; what JSON has."""


class Known:
    """What is known of one epmd.

    names: the held names, with the port that each had last. gone: since when a held name is gone. told: those of them
    of which there was an event. moving: since when a held name has another port. young: names that were seen once.
    down: since when it gives no table; down_told: whether there was an event. seen: whether it ever gave one. ill: what
    recover may bring back, EPMD for epmd itself.
    """

    __slots__ = ("down", "down_told", "gone", "ill", "moving", "names", "seen", "silent", "told", "young")

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.gone: dict[str, float] = {}
        self.told: set[str] = set()
        self.seen = False
        self.down: float | None = None
        self.down_told = False
        self.ill: set[str] = set()
        self.moving: dict[str, float] = {}
        self.young: set[str] = set()
        self.silent = 0
        """How many answers in a row were none, after that was told."""

    def see(self, target: Target, answer: Answer, now: float, grace: float) -> list[Event]:
        """The events that follow from an answer. Those of LOST and MOVED have yet to get what is known of the node."""
        if answer.state != UP:  # pragma: no mutate: no other state comes after it in the alphabet
            return self._see_nothing(target, answer, now, grace)
        events = []
        if self.down_told and self.down is not None:
            events.append(_event(EPMD_UP, target, now, self.down, names=sorted(answer.names)))
        self.down, self.down_told, self.silent = None, False, 0
        self.ill.discard(EPMD)
        self._hold(target, answer.names, now)
        for name in list(self.names):
            events += self._see_name(name, target, answer.names.get(name), now, grace)
        return events

    def wait(self, now: float, grace: float) -> float | None:
        """After how many seconds something that is not told yet has to be; None if there is no such thing."""
        since = [self.gone[name] for name in self.gone if name not in self.told]
        since += self.moving.values()
        if self.down is not None and self.seen and not self.down_told:
            since.append(self.down)
        return max(0.0, min(since) + grace - now) if since else None

    def _see_nothing(self, target: Target, answer: Answer, now: float, grace: float) -> list[Event]:
        if self.down is None:
            self.down = now
        if self.down_told or not self.seen:
            self.silent += 1
        elif now - self.down >= grace:
            self.down_told = True
            names = sorted(name for name in self.names if name not in self.told)
            return [
                _event(EPMD_DOWN, target, now, self.down, names=names, state=answer.state, msg=answer.msg),
            ]
        return []

    def _hold(self, target: Target, names: dict[str, int], now: float) -> None:
        """Take the names that have to stay from now on."""
        for name in self.young.intersection(names) if self.seen else names:
            self.names[name] = names[name]
        self.young = set(names) - set(self.names)
        for name in compare(target.expected or (), self.names)[0]:
            self.names[name] = 0
            self.gone.setdefault(name, now)
        self.seen = True

    def _see_name(self, name: str, target: Target, port: int | None, now: float, grace: float) -> list[Event]:
        """What follows from the port that a held name has now; None if it has none."""
        had, expected = self.names[name], target.expects(name)
        if port is None:
            self.moving.pop(name, None)
            since = self.gone.setdefault(name, now)
            if name in self.told:
                if not expected and now - since > FORGOTTEN_SECONDS:
                    self._forget(name)
            elif now - since >= grace:
                self.told.add(name)
                return [_event(LOST, target, now, since, name=name, port=had or None, expected=expected)]
            return []
        events = []
        since = self.gone.pop(name, now)
        if name in self.told:
            self.told.remove(name)
            self.ill.discard(name)
            events.append(_event(BACK, target, now, since, name=name, port=port, was=had or None, expected=expected))
            self.names[name] = port
        elif had and port != had and now - self.moving.setdefault(name, now) < grace:
            return []  # neither port is taken for its own yet
        elif had and port != had:
            since = self.moving.pop(name)
            events.append(_event(MOVED, target, now, since, name=name, port=port, was=had, expected=expected))
        else:
            self.moving.pop(name, None)
        self.names[name] = port
        return events

    def _forget(self, name: str) -> None:
        del self.names[name], self.gone[name]
        self.told.remove(name)
        self.ill.discard(name)

    def kept(self) -> dict[str, Any]:
        """What the state file has of it, as it is now."""
        return {
            "names": dict(self.names),
            "gone": dict(self.gone),
            "told": sorted(self.told),
            "seen": self.seen,
            "down": self.down,
            "down_told": self.down_told,
            "ill": sorted(self.ill),
        }

    @classmethod
    def of(cls, kept: Any) -> Known:
        """The same again. Errors: InvalidOption unless `kept` wrote it."""
        known = cls()
        try:
            if set(kept) != set(known.kept()):  # pragma: no mutate: a key that is missing raises below
                raise ValueError
            known.names = {_is(str, name): _is(int, port) for name, port in kept["names"].items()}
            known.gone = {_is(str, name): moment(since) for name, since in kept["gone"].items()}
            known.told = {_is(str, name) for name in kept["told"]}
            known.ill = {_is(str, name) for name in kept["ill"]}
            known.seen, known.down_told = _is(bool, kept["seen"]), _is(bool, kept["down_told"])
            known.down = None if kept["down"] is None else moment(kept["down"])
            if not known.told <= set(known.gone) <= set(known.names):
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError):
            raise InvalidOption("it is not what a watch writes") from None
        return known


def moment(value: Any) -> float:
    """A time that a state file has. Errors: ValueError, TypeError for what is none, or has no date."""
    if not 0 <= value < 1 << 37:  # JSON has NaN, Infinity and numbers of any size; this is the year 6325
        raise ValueError
    return float(value)


def _is(kind: type, value: Any) -> Any:
    if value.__class__ is not kind:  # a bool is no int
        raise ValueError
    return value


def _event(kind: str, target: Target, now: float, since: float, **more: Any) -> Event:
    """since: of the loss, also where it is over. seconds: how long it has lasted."""
    return {
        "type": kind,
        "host": target.name,
        "epmd_port": target.port,
        "since": in_iso(since),
        "time": in_iso(now),
        "seconds": round(now - since, 1),
        **more,
    }
