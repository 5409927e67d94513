# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which epmds to ask, and which names should be there: from what a user gives, or from Ansible's variables. Pure.

Standard: none but ours, and the output of `ansible-inventory --list`. Private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Collection, Iterable, Iterator, Mapping

from .._errors import InvalidOption
from .._record import Record
from .._wire.epmd import DEFAULT_PORT, is_name

KEYS = ("name", "host", "port", "expected")


class Target(Record):
    """One epmd to ask.

    name: of the host, as the user calls it. host: its address, or a name that has one. expected: the names that should
    be there, without their host; None where that is not known.
    """

    name: str
    host: str
    port: int
    expected: tuple[str, ...] | None

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.name} {self.port}"

    def expects(self, name: str) -> bool:
        """Whether this name should be there; any, where that is not known."""
        return self.expected is None or any(name in _spellings(each) for each in self.expected)

    @property
    def entry(self) -> dict[str, Any]:
        """The same as `targets` takes it."""
        expected = None if self.expected is None else list(self.expected)
        return {"name": self.name, "host": self.host, "port": self.port, "expected": expected}


def targets(entries: Any, port: int | None = None) -> list[Target]:
    """The epmds of a list: each entry is a host, `web1:4370` or a dict with KEYS. Errors: InvalidOption."""
    default_port = DEFAULT_PORT if port is None else _port(port, "epmd_port")
    if not isinstance(entries, (list, tuple)):
        raise InvalidOption(f"hosts is {_shown(entries)}: give a list of hosts")
    found: dict[str, Target] = {}
    for number, entry in enumerate(entries, 1):
        target = _target(entry, default_port, f"entry {number} of hosts")
        if found.setdefault(target.key, target) is not target:
            raise InvalidOption(f"hosts has {target.name} with port {target.port} twice: take one of the two out")
    return list(found.values())


def targets_of_inventory(inventory: Mapping[str, Any]) -> list[Target]:
    """The epmds of all hosts in the output of `ansible-inventory --list`. Errors: InvalidOption."""
    hostvars = (inventory.get("_meta") or {}).get("hostvars")
    if not isinstance(hostvars, dict):
        raise InvalidOption("the inventory has no _meta.hostvars: write it with ansible-inventory --list")
    return [target for name, variables in hostvars.items() for target in targets_of_host(name, variables)]


def targets_of_host(
    name: str, variables: Mapping[str, Any], audited: Mapping[int, Iterable[str]] | None = None
) -> list[Target]:
    """The epmds of one host of an inventory, from its variables: one for each port. Errors: InvalidOption.

    The names that are expected are those of the variable epmd_expected, else those of the last audit, else those of the
    last facts of epmd_facts or epmd_register, if they are kept.
    """
    host = str(variables.get("ansible_host") or name)
    port = _port(variables.get("epmd_port", DEFAULT_PORT), f"epmd_port of {name}")
    expected: Mapping[int, Iterable[str]] | None
    if variables.get("epmd_expected") is not None:
        expected = _expected_of_variable(variables["epmd_expected"], port, f"epmd_expected of {name}")
    elif audited is not None:
        expected = audited
    else:
        facts = variables.get("ansible_facts") or {}
        epmd = facts.get("epmd") or variables.get("epmd")
        expected = names_of_nodes(epmd.get("nodes") if isinstance(epmd, Mapping) else None)
    if expected is None:
        return [Target(name, host, port, None)]
    return [Target(name, host, port, tuple(sorted(set(names)))) for port, names in expected.items()] or [
        Target(name, host, port, ())
    ]


def names_of_nodes(nodes: Any) -> dict[int, list[str]] | None:
    """Epmd's port to the names that should be there, from the nodes of a result of epmd_facts; None if it has none.

    Nodes in a network of their own can't be asked for at the address of their host. What is no node is skipped: facts
    come from the hosts, and one of them can't spoil the list of all.
    """
    if not isinstance(nodes, (list, tuple)):
        return None
    found: dict[int, list[str]] = {}
    for node in nodes:
        if not isinstance(node, Mapping) or node.get("verdict") in _NOT_EXPECTED or node.get("namespace") is not None:
            continue
        name, port = node.get("name"), node.get("epmd_port")
        if isinstance(name, str) and name and isinstance(port, int) and 0 < port < 65536:
            found.setdefault(int(port), []).append(name.partition("@")[0])
    return found


_NOT_EXPECTED = ("not_applicable", "unidentified")


def audited(report: Any) -> dict[str, dict[int, list[str]]]:
    """The names that should be there, by host and epmd's port, from the audit.json of the playbook audit.

    A host that the audit could not look at is left out. Errors: InvalidOption.
    """
    told = report.get("hosts") if isinstance(report, dict) and report.get("version") == 1 else None
    if not isinstance(told, (list, tuple)) or not all(
        isinstance(host, dict) and isinstance(host.get("host"), str) for host in told
    ):
        raise InvalidOption("the audit is not what this version of the playbook audit writes: run it again")
    found = {}
    for host in told:
        names = names_of_nodes(host.get("nodes")) if host.get("state") in _LOOKED_AT else None
        if names is not None:
            found[host["host"]] = names
    return found


_LOOKED_AT = ("well", "lost", "unwell")


def compare(expected: Collection[str], names: Iterable[str]) -> tuple[list[str], list[str]]:
    """What is missing, and what is there besides, in alphabetical order."""
    there = set(names)
    missing = [name for name in expected if not there.intersection(_spellings(name))]
    spelled = {spelling for name in expected for spelling in _spellings(name)}
    return sorted(missing), sorted(there - spelled)


def _spellings(name: str) -> tuple[str, str]:
    """A node that was started in a locale without UTF-8 takes each byte of its name for a character."""
    return name, name.encode("utf-8", "surrogateescape").decode("latin-1")


def _target(entry: Any, default_port: int, where: str) -> Target:
    if isinstance(entry, str):
        address, number = _host_and_port(entry, where)
        return Target(address, address, number or default_port, None)
    if not isinstance(entry, dict):
        raise InvalidOption(f"{where} is {_shown(entry)}: give a host, or a dict with {', '.join(KEYS)}")
    unknown = sorted(str(key) for key in entry if key not in KEYS)
    if unknown:
        raise InvalidOption(f"{where} has {unknown[0]!r}, which is none of {', '.join(KEYS)}")
    name = entry.get("name") or entry.get("host")
    host = entry.get("host") or name
    if not isinstance(name, str) or not isinstance(host, str):
        raise InvalidOption(f"{where} names no host: give its name, or its address as host")
    expected = entry.get("expected")
    if expected is not None:
        expected = tuple(sorted(set(_names(expected, f"expected of {name}"))))
    given = entry.get("port")
    return Target(name, host, default_port if given is None else _port(given, f"port of {name}"), expected)


def _host_and_port(text: str, where: str) -> tuple[str, int | None]:
    """From `web1`, `web1:4370`, `192.0.2.1:4370`, `2001:db8::1` or `[2001:db8::1]:4370`."""
    host, colon, port = text.rpartition(":")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        if not bracket or (rest and colon != ":"):
            raise InvalidOption(f"{where} is {_shown(text)}: give [address]:port")
    elif not colon or _is_ipv6(text):
        host, colon = text, ""
    if not host.strip():
        raise InvalidOption(f"{where} is {_shown(text)}: give a host, or host:port")
    return host, _port(port, where) if colon else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _port(value: Any, where: str) -> int:
    number = str(value).lstrip("0")
    if isinstance(value, bool) or not re.fullmatch("[1-9][0-9]{0,4}", number) or int(number) > 65535:
        raise InvalidOption(f"{where} is {_shown(value)}, which is not a TCP port: give 1 to 65535")
    return int(number)


def _expected_of_variable(value: Any, port: int, where: str) -> dict[int, list[str]]:
    """From a list of names, or from a dict of epmd's port to such a list."""
    if not isinstance(value, dict):
        return {port: _names(value, where)}
    return {_port(port, where): _names(names, where) for port, names in value.items()}


def _names(value: Any, where: str) -> list[str]:
    return list(_each_name(value, where))


def _each_name(value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, (list, tuple)):
        raise InvalidOption(f"{where} is {_shown(value)}: give a list of names, [] for none")
    for name in value:
        alive = name.partition("@")[0] if isinstance(name, str) else ""
        if not is_name(alive.encode("utf-8", "surrogateescape").decode("latin-1")):
            raise InvalidOption(f"{where} has {_shown(name)}, which is no name of a node: give ejabberd")
        yield str(alive)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
