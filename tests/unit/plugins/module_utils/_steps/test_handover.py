# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names stop a hand-over, and what is refused before it. The hand-over itself is shown on a real systemd."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import NotPermitted
from ansible_collections.beamops.epmd.plugins.module_utils._host import systemd, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.epmd_units import EVERYWHERE, Unit, Units
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import handover
from ansible_collections.beamops.epmd.plugins.module_utils._steps.handover import Wish, WouldLose
from ansible_collections.beamops.epmd.plugins.module_utils._steps.own_unit import Owner
from ansible_collections.beamops.epmd.plugins.module_utils._steps.records import (
    Epmd,
    EpmdKey,
    Lost,
    Observation,
    Repair,
)
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import DOWN, Daemon, State, Table

UNIT = Unit("epmd.service", ("epmd.socket",), 4369, EVERYWHERE, loaded=True, enabled=True, active=False, inactive=())
ONLY_IPV4 = UNIT._replace(addresses=frozenset({"127.0.0.1"}))


def node(alive: str, port: int, address: str = "127.0.0.1", pid: int | None = None) -> Lost:
    listener = Listener(5, address, port)
    vm = vms.UNKNOWN._replace(pid=pid)
    return Lost(Observation(vm, Daemon(address, 4369), tls=False, listener=listener), alive, listener, "")


def seen(names: dict[str, int] | None, *held: Lost, refused: dict[str, str] | None = None) -> handover._Seen:
    """An epmd with these names, or none."""
    table = Table(State.UP, names) if names is not None else DOWN
    epmd = Epmd(EpmdKey(None, Daemon("127.0.0.1", 4369)), table, table)
    return handover._Seen(4369, epmd if names is not None else None, [], list(held), [], refused or {})


def stopped_by(
    found: handover._Seen, unit: Unit = UNIT, allow: tuple[str, ...] = (), refused: dict[str, str] | None = None
) -> str:
    """The sentence that stops a hand-over; empty where nothing does."""
    run = handover._HandOver(Wish(allow_lost=allow), Options([]))
    try:
        run._stop_if_lossy(found, Owner(unit, Units([unit], frozenset())), refused or {})
    except WouldLose as error:
        return str(error)
    return ""


VIC = node("vic", 1)


@pytest.mark.parametrize(
    ("found", "unit", "refused", "words"),
    [
        (seen({"vic": 1}, VIC), UNIT, {}, ""),
        (seen(None), UNIT, {"vic": "it refused the cookie"}, ""),  # it is lost already
        (seen({}), UNIT, {"vic": "it refused the cookie"}, ""),
        (seen({"vic": 1}, VIC), UNIT, {"vic": "it refused the cookie"}, "(vic: it refused the cookie)"),
        (seen({"vic": 1}, refused={"vic": "its node hangs"}), UNIT, {}, "(vic: its node hangs)"),
        (seen({"vic": 1, "c": 2}, VIC), UNIT, {}, "(c: port 2 belongs to no process that can be seen, and no Erlang"),
        (seen({"vic": 1}, node("vic", 1, "::1")), ONLY_IPV4, {}, "(vic: its node asks ::1, where epmd.service would"),
    ],
)
def test_names_that_could_not_be_put_back(
    found: handover._Seen, unit: Unit, refused: dict[str, str], words: str
) -> None:
    said = stopped_by(found, unit, (), refused)
    assert words in said
    assert bool(said) is bool(words)
    if words:
        (name,) = re.findall(r"give allow_lost=(\w+) ", said)
        assert "epmd on port 4369 was not touched, since 1 of its names would be lost" in said
        assert not stopped_by(found, unit, (name,), refused)


def test_a_node_that_has_ended_needs_no_name() -> None:
    gone = Repair(changed=False, registered=False, msg="no", table=DOWN)
    ended, running = node("ended", 1, pid=1 << 30), node("running", 2, pid=os.getpid())
    repairs = [(ended, gone), (running, gone), (node("allowed", 3), gone)]
    assert handover._failures(repairs, {"ended", "running"}) == ["running: no"]


@pytest.mark.parametrize(
    ("addresses", "asked", "where"),
    [
        (EVERYWHERE, ["::1"], "::1"),
        (EVERYWHERE, [], "127.0.0.1"),
        ({"127.0.0.1", "::1"}, ["127.0.0.1"], "127.0.0.1"),
        ({"::1"}, [], "::1"),
        ({"10.0.0.1"}, [], "10.0.0.1"),
    ],
)
def test_where_the_new_epmd_is_asked(addresses: frozenset[str], asked: list[str], where: str) -> None:
    owner = Owner(UNIT._replace(addresses=frozenset(addresses)), Units([], frozenset()))
    ready = [
        handover._Ready(node("vic", 1, address), lambda _deadline: pytest.fail("it is not called")) for address in asked
    ]
    assert handover._where(owner, ready, 4369) == Daemon(where, 4369)


def test_what_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "is_booted", lambda: False)
    with pytest.raises(handover.NoSystemd, match="systemd is not the init"):
        handover.hand_over(Wish(), Options([]), is_prediction=False)
    monkeypatch.setattr(systemd, "is_booted", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotPermitted, match="run with become"):
        handover.hand_over(Wish(), Options([]), is_prediction=True)


def test_another_run_is_waited_for_up_to_the_timeout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(handover, "LOCK", str(tmp_path / "{port}.lock"))
    busy = pytest.raises(handover.Busy, match=r"port 4369 for 0\.1 s")
    with handover._alone(4369, 0.1), handover._alone(4370, 0.1), busy, handover._alone(4369, 0.1):
        pass
    with handover._alone(4369, 0.1):
        pass
    with open(tmp_path / "4369.lock", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
