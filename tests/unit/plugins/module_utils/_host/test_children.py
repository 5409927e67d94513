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
    """Write the start of a result into the newest pipe of this process, which is the one to its parent, and die."""
    for name in sorted(os.listdir("/proc/self/fd"), key=int, reverse=True):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                os.write(int(name), b"\x80\x04\x95")
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


def test_a_process_that_can_not_be_started_is_an_error_of_one_item(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork
    left = [True, False, True]

    def sometimes() -> int:
        if left.pop():
            return fork()
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", sometimes)
    one, two, three = at_once(lambda number: number, [1, 2, 3], 60)
    assert (one, three) == (1, 3)
    assert str(two) == "no process could be started (Resource temporarily unavailable): run again"


def test_an_interrupt_ends_the_children(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(children, "_collect", interrupted)
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
