# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on one item is done here, on several by children; an error of one is its own result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import Ended, EpmdError, NotPermitted
from ansible_collections.beamops.epmd.plugins.module_utils._host import inside, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.vms import Vm
from ansible_collections.beamops.epmd.plugins.module_utils._steps.at_once import at_once

OURS = vms.UNKNOWN._replace(pid=11)
THEIRS = vms.UNKNOWN._replace(pid=12, namespace=7)


def where(_item: object) -> int:
    return os.getpid()


def test_no_item_is_no_work() -> None:
    assert at_once(where, [], lambda _item: None, 60) == []


@pytest.mark.parametrize("vm", [None, OURS])
def test_one_item_of_our_own_network_is_worked_on_in_this_process(vm: Vm | None) -> None:
    assert at_once(where, ["x"], lambda _item: vm, 60) == [os.getpid()]


def test_several_items_are_worked_on_by_a_child_each() -> None:
    pids = at_once(where, ["x", "y"], lambda _item: None, 60)
    assert len({*pids, os.getpid()}) == 3


def test_an_item_of_another_network_is_worked_on_in_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = tmp_path / "entered"
    monkeypatch.setattr(inside, "join_network", lambda pid: log.write_text(str(pid)))
    (pid,) = at_once(where, [THEIRS], lambda vm: vm, 60)
    assert pid != os.getpid()
    assert log.read_text() == "12"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (NotPermitted("run with become"), NotPermitted, "run with become"),
        (NotPermitted("evil\x1b[2J\n"), NotPermitted, "evil?[2J?"),
        (ProcessLookupError(3, "x"), Ended, "a process ended while it was looked at: run again"),
        (FileNotFoundError(2, "x", "/proc/1/ns/net"), Ended, "a process ended while it was looked at: run again"),
        (
            OSError(28, "No space left on device", "/tmp/x"),
            EpmdError,
            "the operating system reports No space left on device (/tmp/x): correct that and run again",
        ),
        (OSError("x"), EpmdError, "the operating system reports x: correct that and run again"),
    ],
)
def test_an_error_is_the_result_of_its_item_in_one_sentence(
    count: int, error: Exception, kind: type[Exception], sentence: str
) -> None:
    def work(item: int) -> int:
        if item == 0:
            raise error
        return item

    outcomes: list[Any] = at_once(work, list(range(count)), lambda _item: None, 60)
    assert (type(outcomes[0]), str(outcomes[0])) == (kind, sentence)
    assert outcomes[1:] == list(range(1, count))


@pytest.mark.parametrize("count", [1, 2])
def test_a_defect_is_said_to_be_one(count: int) -> None:
    outcomes = at_once(lambda item: 1 // item, list(range(count)), lambda _item: None, 60)
    assert isinstance(outcomes[0], EpmdError)
    assert "ZeroDivisionError" in str(outcomes[0])
    assert str(outcomes[0]).endswith("report it)")
