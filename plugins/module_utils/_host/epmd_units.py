# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of systemd that run an epmd, by what they run, not by their names, and the one to start for a node. Pure.

Standard: systemctl(1) for what `show` prints; systemd.service(5), systemd.socket(5), systemd.exec(5); epmd(1), and
`run` in epmd_srv.c for the addresses that it listens at. What can't be told of a unit speaks against it: the epmd that
the node itself would start is always right. Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
from typing import Collection, Mapping, Sequence

from .._limits import MAX_UNIT_VALUE, MAX_UNIT_VALUES
from .._record import Record
from .._wire.epmd import DEFAULT_PORT

EVERYWHERE = frozenset({"0.0.0.0", "::"})

USUAL = frozenset({"epmd.socket", "epmd.service"})

LIST = ["systemctl", "list-unit-files", "--no-legend", "--no-pager", "*epmd*"]
"""The command that names those that may not be loaded, for `show`."""

_PROPERTIES = (
    "Id,LoadState,ActiveState,UnitFileState,Listen,BindIPv6Only,ExecStart,Environment,EnvironmentFiles,TriggeredBy,"
    "PrivateNetwork,NetworkNamespacePath"
)

_STARTED_BY_SYSTEMD = ("enabled", "enabled-runtime")
_RUNNING = ("active", "activating", "reloading")


class Units(Record):
    """The units of a host that run an epmd, those of the usual name first, and the names of all units that run now."""

    epmds: Sequence[Unit]
    running: frozenset[str]


class Unit(Record):
    """A service that runs an epmd.

    sockets: the socket units that it takes its sockets from. addresses: where it listens. active: whether it or one of
    its sockets is. loaded: whether it can be started, as far as its files are concerned (not masked, for one).
    inactive: those of it and its sockets that do not run now.
    """

    name: str
    sockets: tuple[str, ...]
    port: int
    addresses: frozenset[str]
    loaded: bool
    enabled: bool
    active: bool
    inactive: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The unit with its sockets, in the order to stop them."""
        return [*self.sockets, self.name]


def show(listed: str) -> list[str]:
    """The command whose output `parse` reads, from the output of LIST."""
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    # A template is no unit, and its instances are loaded where they are of any use.
    named = [name for name in names if re.fullmatch(r"[\w.:-]+(@[\w.:-]+)?\.(service|socket)", name)]
    patterns = [*named[:MAX_UNIT_VALUES], "*.service", "*.socket"]
    return ["systemctl", "show", f"--property={_PROPERTIES}", "--", *patterns]


NO_UNITS = Units((), USUAL)
"""Where systemd does not run, or has another network than the node."""


def parse(shown: str) -> Units:
    """The units in the output of `show`."""
    units: dict[str, dict[str, str]] = {}
    for block in shown.split("\n\n"):
        values: dict[str, list[str]] = {}
        for line in block.splitlines():
            key, _equals, value = line.partition("=")
            values.setdefault(key, []).append(value[:MAX_UNIT_VALUE])
        unit = {key: "\n".join(several[:MAX_UNIT_VALUES]) for key, several in values.items()}
        if "Id" in unit:
            units[unit["Id"]] = unit
    services = [name for name in units if name.endswith(".service")]
    commands = {name: _command(units[name].get("ExecStart", "")) for name in services}
    if units.get("epmd.service", {}).get("TriggeredBy"):
        # By its name it runs an epmd, also where a script starts that, and its sockets tell where.
        commands["epmd.service"] = commands["epmd.service"] or _Command(None, None, takes_sockets=True)
    named = [(name, command) for name, command in commands.items() if command][:MAX_UNIT_VALUES]
    found = [_unit(name, command, units) for name, command in named]
    return Units(
        sorted((unit for unit in found if unit), key=lambda unit: (unit.name != "epmd.service", unit.name)),
        frozenset(name for name, unit in units.items() if unit.get("ActiveState") not in (None, "inactive", "failed")),
    )


def rivals(units: Units, port: int) -> list[str]:
    """The units that an operator may start later for an epmd on this port, and that do not run now, sockets first.

    The usual ones are among them where they are masked or not installed: they may be, by then.
    """
    of_it = [name for unit in units.epmds if unit.loaded and unit.port == port for name in unit.names]
    elsewhere = {name for unit in units.epmds if unit.port != port for name in unit.names}
    found = {*of_it, *(USUAL - elsewhere)} - units.running
    return sorted(found, key=lambda name: (name.endswith(".service"), name))


def choose(units: Units, port: int, asked: str, own_addresses: str) -> Unit | None:
    """The unit to start for a node that asks this address and port, if there is one.

    own_addresses: ERL_EPMD_ADDRESS of the node, which bounds where its epmd may listen.
    """
    allowed = listened(own_addresses)
    for unit in units.epmds:
        serves = unit.loaded and unit.port == port and covers(unit.addresses, asked)
        # What listens already is not opened by us.
        if serves and (unit.active or (unit.enabled and all(covers(allowed, each) for each in unit.addresses))):
            return unit
    return None


def listened(addresses: str) -> frozenset[str]:
    """Where an epmd with this -address or ERL_EPMD_ADDRESS listens."""
    named = {_normal(address) for address in re.split("[ ,]+", addresses) if address}
    return frozenset({*named, "127.0.0.1", "::1"}) if named else EVERYWHERE


def covers(addresses: Collection[str], address: str) -> bool:
    """Whether who listens at these addresses also listens at this one."""
    return address in addresses or ("::" if ":" in address else "0.0.0.0") in addresses


def is_the_same(listening: Collection[str], wished: Collection[str], has_ipv6: bool) -> bool:
    """Whether who listens at the first addresses is all that the second ones ask for, and no more.

    A listener of both families has the address of IPv6 alone. has_ipv6: whether this kernel has it at all.
    """

    def reach(addresses: Collection[str]) -> set[str]:
        every = {*addresses, *(EVERYWHERE if "::" in addresses else ())}
        return {address for address in every if has_ipv6 or ":" not in address}

    return reach(listening) == reach(wished)


def _normal(address: str) -> str:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            return socket.inet_ntop(family, socket.inet_pton(family, address))
    return address


class _Command(Record):
    """The arguments of an epmd: its port and its addresses, None where it has none; whether systemd gives sockets."""

    port: int | None
    addresses: str | None
    takes_sockets: bool


def _unit(name: str, command: _Command, units: Mapping[str, Mapping[str, str]]) -> Unit | None:
    """A service that runs this epmd; None if its port can't be told, or if it serves another network."""
    unit = units[name]
    if unit.get("EnvironmentFiles") or unit.get("NetworkNamespacePath"):
        return None
    if unit.get("PrivateNetwork") == "yes":
        return None
    environment = _environment(unit.get("Environment", ""))
    port: int | None = command.port or _port(environment.get("ERL_EPMD_PORT", str(DEFAULT_PORT)))
    addresses: frozenset[str] = frozenset()
    sockets = [each for each in unit.get("TriggeredBy", "").split() if each.endswith(".socket")][:MAX_UNIT_VALUES]
    if command.takes_sockets:
        listens = [_listens(units.get(each, {})) for each in sockets]
        ports = {at for each in listens for at, _addresses in each}
        port = ports.pop() if len(ports) == 1 else None
        addresses = frozenset(address for each in listens for _at, found in each for address in found)
    else:
        given = command.addresses if command.addresses is not None else environment.get("ERL_EPMD_ADDRESS", "")
        addresses = listened(given)
    if port is None:
        return None
    everything = {each: units.get(each, {}) for each in (*sockets, name)}
    return Unit(
        name,
        tuple(sockets),
        port,
        addresses,
        loaded=all(each.get("LoadState") == "loaded" for each in everything.values()),
        enabled=any(each.get("UnitFileState") in _STARTED_BY_SYSTEMD for each in everything.values()),
        active=any(each.get("ActiveState") in _RUNNING for each in everything.values()),
        inactive=tuple(each for each, how in everything.items() if how.get("ActiveState") not in _RUNNING),
    )


def _command(executes: str) -> _Command | None:
    """What the ExecStart of a unit runs, if that is an epmd alone, with arguments that are all known."""
    found = re.fullmatch(r"\{ path=[^;]* ; argv\[\]=(.*?) ; ignore_errors=.*\}", executes)
    words = found.group(1).split() if found else []
    start = next((place for place, word in enumerate(words) if os.path.basename(word) == "epmd"), None)
    if start is None or not _is_wrapper(words[:start]):
        return None
    port, addresses, takes_sockets = None, None, False
    rest = iter(words[start + 1 :])
    for word in rest:
        if word == "-port":
            port = _port(next(rest, ""))
            if port is None:
                return None
        elif word == "-address":
            addresses = next(rest, "")
        elif word == "-systemd":
            takes_sockets = True
        elif word not in ("-daemon", "-relaxed_command_check", "-d", "-debug"):
            return None
    return _Command(port, addresses, takes_sockets)


def _is_wrapper(words: Sequence[str]) -> bool:
    """Whether a command that starts like this becomes the next word, as with `/bin/sh -c exec` and `/usr/bin/env`."""
    return not words or (
        os.path.basename(words[0]) in ("sh", "bash", "dash", "env") and set(words[1:]) <= {"-c", "exec"}
    )


def _port(text: str) -> int | None:
    return int(text) if re.fullmatch("0*[1-9][0-9]{0,4}", text) and int(text) < 65536 else None


def _environment(text: str) -> dict[str, str]:
    with contextlib.suppress(ValueError):
        pairs = (entry.partition("=") for entry in shlex.split(text))
        return {key: value for key, _equals, value in pairs}
    return {}


def _listens(unit: Mapping[str, str]) -> list[tuple[int, list[str]]]:
    """The ports of a socket unit, each with its addresses; what is no TCP port has the number 0."""
    found = []
    for line in unit.get("Listen", "").splitlines():
        match = re.fullmatch(r"\[?([0-9a-fA-F.:*]*?)\]?:(\d{1,5}) \(Stream\)", line)
        if match is None:
            found.append((0, [line]))
        elif match.group(1) in ("::", "*", ""):
            found.append((int(match.group(2)), ["::"] if unit.get("BindIPv6Only") == "ipv6-only" else [*EVERYWHERE]))
        else:
            found.append((int(match.group(2)), [_normal(match.group(1))]))
    return found
