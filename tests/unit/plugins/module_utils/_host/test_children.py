# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in children: what comes back, what does not, how many at once, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, NotPermitted, TimedOut
from ansible_collections.beamops.epmd.plugins.module_utils._host import children
from ansible_collections.beamops.epmd.plugins.module_utils._host.children import alone, at_once, result_of

SELF = os.getpid()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_the_work_gives_comes_back_from_another_process() -> None:
    assert result_of(os.getpid, 10) != SELF
    assert result_of(lambda: {"a": [1, None]}, 10) == {"a": [1, None]}
    assert result_of(lambda: "x" * 1_000_000, 10) == "x" * 1_000_000


@pytest.mark.parametrize("error", [EpmdError("one sentence"), NotPermitted("no"), FileNotFoundError(2, "gone")])
def test_what_the_work_raises_is_raised_here(error: Exception) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        result_of(work, 10)
    assert str(caught.value) == str(error)


def test_a_defect_of_ours_is_one_sentence_that_says_where() -> None:
    with pytest.raises(EpmdError, match=r"ZeroDivisionError: .* \(at test_children.py line \d+; .* report it\)"):
        result_of(lambda: 1 // 0, 10)
    with pytest.raises(EpmdError, match=r"\(at children.py line \d+; .* report it\)"):
        result_of(lambda: lambda: None, 10)
    assert str(children.defect(ValueError("x"))).startswith("ValueError: x (at ?; this is a defect of the collection")


def test_work_that_hangs_has_an_end() -> None:
    with pytest.raises(TimedOut, match=r"^the work on it did not end within 0.2 s: run again$"):
        result_of(lambda: time.sleep(3600), 0.2)


def send_half(_item: object) -> None:
    """Write the start of a result into the newest socket of this process, which leads to its parent, and die."""
    for name in sorted(os.listdir("/proc/self/fd"), key=int, reverse=True):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                os.write(int(name), b"\x80\x00\x00")
                break
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("work", [lambda _item: os.kill(os.getpid(), signal.SIGKILL), send_half])
def test_work_that_is_killed_says_so(work: Callable[[object], None]) -> None:
    with pytest.raises(
        EpmdError, match=r"^the process that worked on it was killed by signal 9 before it had a result"
    ):
        result_of(lambda: work(None), 3600)


def test_work_that_ends_its_process_has_no_result() -> None:
    with pytest.raises(EpmdError, match=r"^the process that worked on it ended before it had a result: run again$"):
        result_of(lambda: os._exit(0), 3600)


def test_a_child_that_sends_too_much_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MAX_CHILD_RESULT", 1 << 20)
    with pytest.raises(EpmdError, match=r"gave a result of more than 1 MiB \(this is a defect of the collection"):
        result_of(lambda: "x" * 10_000_000, 3600)


def test_no_more_than_the_limit_run_at_once_and_all_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(children, "MAX_AT_ONCE", 3)

    def work(number: int) -> int:
        (tmp_path / f"runs-{number}").touch()
        peers = len(list(tmp_path.glob("runs-*")))
        (tmp_path / f"runs-{number}").unlink()
        assert peers <= 3
        return number * number

    assert at_once(work, range(20), 60) == [number * number for number in range(20)]


def test_they_really_run_at_once() -> None:
    """Each of two waits for what only the other one says."""
    one, two = os.pipe(), os.pipe()

    def work(number: int) -> bytes:
        mine, other = (one, two) if number else (two, one)
        os.write(other[1], b"x")
        return os.read(mine[0], 1)

    try:
        assert at_once(work, [0, 1], 60) == [b"x", b"x"]
    finally:
        for descriptor in one + two:
            os.close(descriptor)


def test_one_that_hangs_or_fails_takes_nothing_from_the_others() -> None:
    def work(number: int) -> int:
        if number == 1:
            time.sleep(3600)
        if number == 2:
            raise EpmdError("no")
        return number

    first, hung, failed, last = at_once(work, range(4), 1)
    assert (first, last) == (0, 3)
    assert "did not end within 1 s" in str(hung)
    assert str(failed) == "no"


def test_a_few_children_do_what_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "PATIENCE_SECONDS", 3600)
    pids = at_once(lambda _item: os.getpid(), range(20), 60)
    assert len(set(pids)) <= children.FIRST_AT_ONCE


def test_those_that_hang_keep_nobody_waiting(tmp_path: Path) -> None:
    """As many hang as there are children at first, until the others are done."""

    def work(number: int) -> int:
        if number >= children.FIRST_AT_ONCE:
            (tmp_path / str(number)).touch()
        while len(list(tmp_path.iterdir())) < 6 and number < children.FIRST_AT_ONCE:
            time.sleep(0.01)
        return number

    numbers = list(range(6 + children.FIRST_AT_ONCE))
    assert at_once(work, numbers, 60) == numbers


def test_a_child_that_is_killed_costs_one_item() -> None:
    def work(number: int) -> int:
        if number in (1, 4):
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    outcomes = at_once(work, range(8), 60)
    killed = [str(outcomes.pop(place)) for place in (4, 1)]
    assert killed == ["the process that worked on it was killed by signal 9 before it had a result: run again"] * 2
    assert outcomes == [0, 2, 3, 5, 6, 7]


def test_a_child_that_was_killed_while_it_waits_costs_the_item_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(children, "FIRST_AT_ONCE", 1)
    give = children._Child.give

    def give_to_a_dead_one(child: children._Child[int], number: int, location: object, seconds: float) -> None:
        if number == 1:
            os.kill(child._pid, signal.SIGKILL)
            os.waitid(os.P_PID, child._pid, os.WEXITED | os.WNOWAIT)
        give(child, number, location, seconds)

    monkeypatch.setattr(children._Child, "give", give_to_a_dead_one)
    one, two, three = at_once(lambda number: number, range(3), 60)
    assert (one, three) == (0, 2)
    assert "was killed by signal 9" in str(two)


def test_a_child_that_has_entered_a_place_works_on_no_item_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "FIRST_AT_ONCE", 1)
    monkeypatch.setattr(children, "PATIENCE_SECONDS", 3600)
    places = [None, None, 7, 7, 8, None, 7]
    pids = at_once(lambda _item: os.getpid(), places, 60, lambda place: place)
    # One that has entered none can still enter one.
    assert pids[0] == pids[1] == pids[2] == pids[3]
    assert len({pids[3], pids[4], pids[5]}) == 3
    assert pids[5] == pids[6]


def test_a_child_does_not_outlive_its_parent_for_the_sake_of_more_work(tmp_path: Path) -> None:
    """Also while a sibling, which was started later, hangs."""
    both = tmp_path / "first", tmp_path / "second"

    def work(number: int) -> None:
        both[number].write_text(str(os.getpid()))
        while not all(path.exists() and path.read_text() for path in both):
            time.sleep(0.01)
        if number == 0:
            os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600 * number)

    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        os.close(reading)
        at_once(work, range(3), 3600)
    os.close(writing)
    try:
        assert os.WTERMSIG(os.waitpid(parent, 0)[1]) == signal.SIGKILL
        end = time.monotonic() + 60
        while os.path.exists(f"/proc/{both[0].read_text()}/stat") and not _is_zombie(both[0].read_text()):
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        for path in both:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGKILL)
        assert os.read(reading, 1) == b""
        os.close(reading)


def _is_zombie(pid: str) -> bool:
    """Whether a process has ended, and its new parent has not waited for it yet."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_where_no_process_can_be_started_each_item_has_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    outcomes = at_once(lambda number: number, [1, 2], 60)
    assert list(map(str, outcomes)) == ["no process could be started (Resource temporarily unavailable): run again"] * 2


def test_where_few_processes_can_be_started_they_work_on_all_items(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork
    left = [True]

    def once() -> int:
        if left and left.pop():
            return fork()
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", once)
    assert at_once(lambda number: number, [1, 2, 3], 60) == [1, 2, 3]


def test_an_interrupt_ends_the_children(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(children._Pool, "collect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        at_once(lambda _item: time.sleep(3600), [1, 2], 3600)


def test_a_child_that_can_not_be_killed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a file system has hung: SIGKILL does nothing to it."""
    spared: list[int] = []
    monkeypatch.setattr(children, "KILL_SECONDS", 0.1)
    with monkeypatch.context() as context:
        context.setattr(os, "kill", lambda pid, _signal: spared.append(pid))
        started = time.monotonic()
        with pytest.raises(TimedOut, match=r"did not end within 0.1 s"):
            result_of(lambda: time.sleep(3600), 0.1)
        assert time.monotonic() - started < 10
    (pid,) = spared
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_child_of_which_nobody_is_told_how_it_ended() -> None:
    """What has started Ansible may ignore SIGCHLD, and so does then what it starts (execve(2), waitpid(2))."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert result_of(lambda: 1, 10) == 1
        assert at_once(lambda number: number, [1, 2, 3], 10) == [1, 2, 3]
        with pytest.raises(EpmdError, match="before it had a result: run again"):
            result_of(lambda: os._exit(0), 10)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_what_goes_wrong_at_the_end_of_a_child_takes_nothing_from_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)
    assert result_of(lambda: 1, 10) == 1


def test_children_of_children_do_not_multiply(tmp_path: Path) -> None:
    def inner(_number: int) -> None:
        (tmp_path / f"runs-{os.getpid()}").touch()
        assert len(list(tmp_path.glob("runs-*"))) <= 2
        time.sleep(0.01)
        (tmp_path / f"runs-{os.getpid()}").unlink()

    outcomes = at_once(lambda _number: at_once(inner, range(4), 60), range(2), 60)
    assert outcomes == [[None] * 4] * 2


def test_locks_need_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("this Python has no files in memory")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: 1 // 0)
    assert at_once(lambda number: number, [1, 2], 60) == [1, 2]
    monkeypatch.undo()
    monkeypatch.delattr(os, "memfd_create")
    assert at_once(lambda number: number, [1, 2], 60) == [1, 2]


class TestAlone:
    def test_siblings_take_turns(self, tmp_path: Path) -> None:
        def work(number: int) -> int:
            with alone(7, Deadline(60)):
                (tmp_path / "here").touch(exist_ok=False)
                (tmp_path / "here").unlink()
            return number

        assert at_once(work, range(30), 60) == list(range(30))

    def test_those_with_another_key_do_not_wait(self) -> None:
        """Each of two waits inside for what only the other one says inside."""
        one, two = os.pipe(), os.pipe()

        def work(number: int) -> bytes:
            mine, other = (one, two) if number else (two, one)
            with alone(number, Deadline(60)):
                os.write(other[1], b"x")
                return os.read(mine[0], 1)

        try:
            assert at_once(work, [0, 1], 60) == [b"x", b"x"]
        finally:
            for descriptor in one + two:
                os.close(descriptor)

    def test_the_turn_is_given_back_after_an_error(self) -> None:
        def work(number: int) -> int:
            with alone(0, Deadline(60)):
                raise EpmdError(f"no {number}")

        assert [str(error) for error in at_once(work, [1, 2, 3], 60)] == ["no 1", "no 2", "no 3"]

    def held_by_the_first(self, leave: Callable[[], object], seconds: float) -> object:
        """What the second of two siblings gets, whose turn comes when the first one leaves, if it does."""
        reading, writing = os.pipe()

        def work(number: int) -> str:
            if number:
                os.read(reading, 1)  # until the other one has its turn
                with alone(0, Deadline(seconds)):
                    return "its turn"
            with alone(0, Deadline(60)):
                os.write(writing, b"x")
                leave()
            return "left"

        try:
            _first, second = at_once(work, [0, 1], 2)
        finally:
            os.close(reading)
            os.close(writing)
        return second

    def test_nobody_waits_longer_than_the_deadline(self) -> None:
        error = self.held_by_the_first(lambda: time.sleep(3600), 0.1)
        assert isinstance(error, TimedOut)
        assert str(error) == "the same work for another node did not end within 0.1 s: run again"

    def test_the_turn_of_one_that_is_killed_comes_to_its_end(self) -> None:
        assert self.held_by_the_first(lambda: os.kill(os.getpid(), signal.SIGKILL), 60) == "its turn"

    def test_a_child_of_a_child_that_ends_leaves_the_turn_to_its_parent(self) -> None:
        def leave() -> None:
            assert result_of(os.getpid, 60) != SELF
            time.sleep(3600)

        assert isinstance(self.held_by_the_first(leave, 0.5), TimedOut)

    def test_the_children_of_siblings_are_siblings(self, tmp_path: Path) -> None:
        def inner(_number: int) -> None:
            with alone(0, Deadline(60)):
                (tmp_path / "here").touch(exist_ok=False)
                (tmp_path / "here").unlink()

        def outer(_number: int) -> list[object]:
            return list(at_once(inner, range(3), 60))

        assert at_once(outer, range(3), 60) == [[None] * 3] * 3

    def test_who_has_no_siblings_does_not_wait(self) -> None:
        with alone(0, Deadline(60)), alone(0, Deadline(60)):
            pass
