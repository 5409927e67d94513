# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a fleet, as one file that needs no other: playbooks/templates/fleet.* filled in.

Private to the collection.

Standards: HTML; Content Security Policy Level 3, by whose hashes only this style and this script may run.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ._fleet import BAD, GOOD, PLAIN, WARN, Record, is_lost

TEMPLATES = Path(__file__).parents[2] / "playbooks" / "templates"

_ORDER = [BAD, WARN, GOOD, PLAIN]


def page(fleet: Record) -> str:
    """The page of what `glance` returned."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["stamp"] = lambda moment: moment.replace("T", " ").replace("Z", "")
    environment.filters["clock"] = lambda moment: moment[11:19]
    style, script = _own("fleet.css"), _own("fleet.js")
    hosts = [{**host, "classes": " ".join(_classes(host))} for host in fleet["hosts"]]
    return environment.get_template("fleet.html.j2").render(
        {
            **fleet,
            "hosts": sorted(hosts, key=lambda host: (_ORDER.index(host["tone"]), not host["needs_somebody"])),
            "choices": list(_choices(hosts)),
            "style": style,
            "style_hash": _hash(style),
            "script": script,
            "script_hash": _hash(script),
        }
    )


_CHOICES: dict[str, tuple[str, Callable[[Record], bool]]] = {
    "need": ("that need somebody", lambda host: bool(host["needs_somebody"])),
    "lost": ("with a lost node", lambda host: any(map(is_lost, host["nodes"]))),
    "done": ("where something was done", lambda host: bool(host["changed"])),
    "risk": ("whose epmd ends with somebody else", lambda host: any(epmd["at_risk"] for epmd in host["epmds"])),
    "open": ("whose epmd is open to any network", lambda host: any(epmd["public"] for epmd in host["epmds"])),
}
"""Which hosts a reader may want to see, by the class of their rows."""


def _classes(host: Record) -> list[str]:
    return [name for name, (_words, fits) in _CHOICES.items() if fits(host)]


def _choices(hosts: list[Record]) -> Iterator[tuple[str, str, int]]:
    for name, (words, fits) in _CHOICES.items():
        number = sum(map(fits, hosts))
        if number:
            yield name, words, number


@functools.cache
def _own(name: str) -> Markup:
    """A file of ours, which is not escaped."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
