# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which unit shall own an epmd, and whether it does. What is done with systemd is shown on a real one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._host import programs
from ansible_collections.beamops.epmd.plugins.module_utils._host.epmd_units import EVERYWHERE, Unit, Units
from ansible_collections.beamops.epmd.plugins.module_utils._host.programs import Place
from ansible_collections.beamops.epmd.plugins.module_utils._steps import epmd_in_unit, own_unit
from ansible_collections.beamops.epmd.plugins.module_utils._steps.own_unit import NotReplaceable, NoUnit, Owner
from ansible_collections.beamops.epmd.plugins.module_utils._steps.records import Epmd, EpmdKey
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Daemon, State, Table

PLACE = Place(systemd=True, container=None, network="")
UP = Table(State.UP, {})
USUAL = Unit("epmd.service", ("epmd.socket",), 4369, EVERYWHERE, loaded=True, enabled=True, active=False, inactive=())
OTHER = USUAL._replace(name="rabbitmq-epmd.service", sockets=())
OURS = OTHER._replace(name="beamops-epmd-4369-7.service", active=True)


def epmd(unit: str | None = "epmd.service", addresses: tuple[str, ...] = ("::",), of_application: bool = False) -> Epmd:
    """This process in the role of an epmd."""
    key = EpmdKey(None, Daemon("127.0.0.1", 4369))
    return Epmd(key, UP, UP, False, addresses, os.getpid(), "epmd", unit, of_application)


def found(
    monkeypatch: pytest.MonkeyPatch,
    *units: Unit,
    wanted: str | None = None,
    current: str | None = None,
    act: bool = True,
) -> Owner:
    """What `find` gives on a host with these units."""
    monkeypatch.setattr(epmd_in_unit, "find", lambda _place, _deadline: Units(units, frozenset()))
    monkeypatch.setattr(programs, "run", lambda *_unused: "FragmentPath=/a\nDropInPaths=/b /c\nNeedDaemonReload=no\n")
    return own_unit.find(PLACE, 4369, wanted, current, Deadline(10), act)


@pytest.mark.parametrize(
    ("units", "wanted", "current", "name"),
    [
        ([USUAL], None, None, "epmd.service"),
        ([USUAL, OTHER], None, None, "epmd.service"),
        ([USUAL, OTHER], None, "rabbitmq-epmd.service", "rabbitmq-epmd.service"),
        ([USUAL, OTHER], "rabbitmq-epmd.service", None, "rabbitmq-epmd.service"),
        ([USUAL, OTHER], "epmd.socket", "rabbitmq-epmd.service", "epmd.service"),
        ([OURS, OTHER], None, OURS.name, "rabbitmq-epmd.service"),
        ([USUAL._replace(enabled=False), OTHER], None, None, "rabbitmq-epmd.service"),
        ([USUAL._replace(enabled=False)], "epmd.service", None, "epmd.service"),
    ],
)
def test_the_unit(
    monkeypatch: pytest.MonkeyPatch, units: list[Unit], wanted: str | None, current: str | None, name: str
) -> None:
    owner = found(monkeypatch, *units, wanted=wanted, current=current)
    assert (owner.name, owner.files) == (name, ("/a", "/b", "/c"))


@pytest.mark.parametrize("unit", [OURS, USUAL._replace(port=4370), USUAL._replace(loaded=False)])
def test_without_a_unit_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch, unit: Unit) -> None:
    for wanted in (None, "epmd.service"):
        with pytest.raises(NoUnit, match=r"the role beamops\.epmd\.epmd_service makes one"):
            found(monkeypatch, unit, wanted=wanted)
    assert found(monkeypatch, unit, wanted="epmd.service", act=False).unit is None  # it will be written


@pytest.mark.parametrize(
    ("seen", "is_settled"),
    [(epmd(), True), (epmd("app.service"), False), (epmd(None), False), (epmd(addresses=("127.0.0.1",)), False)],
)
def test_whether_it_is_what_the_unit_would_start(seen: Epmd, is_settled: bool) -> None:
    assert own_unit.is_settled(Owner(USUAL, Units([USUAL], frozenset())), seen) is is_settled


@pytest.mark.parametrize(("seconds", "is_settled"), [(60, False), (-1000000, True)])
def test_a_unit_that_was_changed_since_is_not_what_runs(tmp_path: Path, seconds: int, is_settled: bool) -> None:
    file = tmp_path / "epmd.service"
    file.touch()
    changed = time.time() + seconds
    os.utime(file, (changed, changed))
    owner = Owner(USUAL, Units([USUAL], frozenset()), (str(file), "/nonexistent"))
    assert own_unit.is_settled(owner, epmd()) is is_settled
    assert not own_unit.is_settled(owner._replace(needs_reload=True), epmd())


OWNER = Owner(USUAL, Units([USUAL, OTHER], frozenset()))


def old(seen: Epmd, main: int = 1) -> own_unit.Old:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "run", lambda *_unused: f"MainPID={main}\n")
        return own_unit.old(seen, OWNER, PLACE, Deadline(10))


@pytest.mark.parametrize(
    ("seen", "stopped"),
    [
        (epmd(), ("epmd.socket", "epmd.service")),
        (epmd("rabbitmq-epmd.service"), ("rabbitmq-epmd.service",)),
        (epmd("beamops-epmd-4369-7.service"), ("beamops-epmd-4369-7.service",)),
        (epmd("app.service", of_application=True), ()),
        (epmd("session-1.scope", of_application=True), ()),
        (epmd(None), ()),
    ],
)
def test_what_is_stopped(seen: Epmd, stopped: tuple[str, ...]) -> None:
    assert old(seen).unit == stopped


def test_the_first_process_of_an_application_is_not_ended() -> None:
    with pytest.raises(NotReplaceable, match=r"first process of app\.service"):
        old(epmd("app.service", of_application=True), main=os.getpid())


@pytest.mark.parametrize(
    ("addresses", "environment"),
    [(("::",), {}), (("0.0.0.0", "::"), {}), (("127.0.0.1", "::1"), {"ERL_EPMD_ADDRESS": "127.0.0.1,::1"})],
)
def test_the_old_one_would_be_started_as_it_ran(addresses: tuple[str, ...], environment: dict[str, str]) -> None:
    stray = old(epmd(None, addresses)).as_stray
    assert (stray.program, stray.port, stray.uid) == (os.readlink("/proc/self/exe"), 4369, os.geteuid())
    assert stray.environment == {"PATH": programs.PATH, "ERL_EPMD_PORT": "4369", **environment}
