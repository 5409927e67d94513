# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that is done in children of this process: several at once, each with an end, what came of it sent back.

Standard: fork(2), pipe(7). Never threads: some of the work forks, too, to enter the place of a node, and what one
thread has locked while another forks (an import, a codec) is locked in the child for ever.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import select
import signal
import sys
import time
from typing import Any, Callable, Generic, Iterator, Sequence, TypeVar

from .._deadline import Deadline
from .._errors import EpmdError
from .._limits import MAX_AT_ONCE, MAX_CHILD_RESULT

T = TypeVar("T")
U = TypeVar("U")

_CHUNK = 1 << 16


class _Child(Generic[T]):
    """A running child; closed, it is gone."""

    def __init__(self, work: Callable[[], T], seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self._data = bytearray()
        self.reading, writing = os.pipe()
        try:
            gc.freeze()  # its collector would copy every page of ours
            self._pid = os.fork()
        except OSError:
            os.close(self.reading)
            os.close(writing)
            raise
        if self._pid == 0:
            _live(writing, work)
        os.close(writing)

    def left(self) -> float:
        """Seconds until its end, 0 at least."""
        return max(0.0, self._end - time.monotonic())

    def take(self) -> bool:
        """Take what it has sent; whether that was all."""
        part = os.read(self.reading, _CHUNK)
        self._data += part
        return not part or len(self._data) > MAX_CHILD_RESULT

    def close(self) -> None:
        """End it. Usually it has ended; it must not outlive its time."""
        os.close(self.reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def outcome(self, in_time: bool) -> T | Exception:
        """What came of it."""
        if not in_time or not 0 < len(self._data) <= MAX_CHILD_RESULT:
            return EpmdError(f"the work on it did not end within {self._seconds:g} s: run again")
        return pickle.loads(bytes(self._data))  # type: ignore[no-any-return]


def result_of(work: Callable[[], T], seconds: float) -> T:
    """The result of `work`, done in a child. Errors: those of the work, and as in `at_once`."""
    (outcome,) = at_once(lambda _item: work(), [None], seconds)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def at_once(work: Callable[[T], U], items: Sequence[T], seconds: float) -> list[U | Exception]:
    """What the work gives for each item, or its error, in their order.

    Each has a child of its own, so many at once, and is given up after so many seconds; then, and where a child
    broke, the error is an EpmdError.
    """
    outcomes: dict[int, U | Exception] = {}
    waiting = list(enumerate(items))[::-1]
    running: dict[int, _Child[U]] = {}
    with _turns() if len(items) > 1 else contextlib.nullcontext():
        try:
            while waiting or running:
                while waiting and len(running) < MAX_AT_ONCE:
                    place, item = waiting.pop()
                    try:
                        running[place] = _Child(lambda item=item: work(item), seconds)  # type: ignore[misc]
                    except OSError as error:
                        outcomes[place] = EpmdError(f"no process to be had ({error.strerror}): run again")
                if running:
                    _collect(running, outcomes)
        finally:
            for child in running.values():
                child.close()
    return [outcomes[place] for place in range(len(items))]


def _collect(running: dict[int, _Child[U]], outcomes: dict[int, U | Exception]) -> None:
    """Wait until one of them sends something or its time is over, and move those that are done."""
    patience = min(child.left() for child in running.values())
    sent = select.select([child.reading for child in running.values()], [], [], patience)[0]
    for place, child in list(running.items()):
        ended = child.reading in sent and child.take()
        if ended or not child.left():
            outcomes[place] = child.outcome(ended)
            running.pop(place).close()


_turn: list[tuple[int, int]] = []
"""The pipe with the one token of our siblings; empty in a process that has none."""


@contextlib.contextmanager
def _turns() -> Iterator[None]:
    """Children that are made in here are siblings for `alone`."""
    outer, pipe = _turn[:], os.pipe()
    os.set_blocking(pipe[0], False)
    os.write(pipe[1], b"x")
    _turn[:] = [pipe]
    try:
        yield
    finally:
        _turn[:] = outer
        os.close(pipe[0])
        os.close(pipe[1])


@contextlib.contextmanager
def alone(deadline: Deadline) -> Iterator[None]:
    """In here while none of our siblings is. Errors: TimedOut."""
    if not _turn:
        yield
        return
    reading, writing = _turn[0]
    token = b""
    while not token:
        select.select([reading], [], [], deadline.left())
        with contextlib.suppress(BlockingIOError):  # another one was faster
            token = os.read(reading, 1)
    try:
        yield
    finally:
        os.write(writing, token)


def _live(writing: int, work: Callable[[], Any]) -> None:
    """The life of a child, which never returns."""
    try:
        said = pickle.dumps(work())
    except BaseException as error:
        said = pickle.dumps(_tellable(error))
    try:
        with open(writing, "wb") as pipe:
            pipe.write(said)
    finally:
        os._exit(0)


def _tellable(error: BaseException) -> Exception:
    """One that can be sent as it is, and who reads it knows what to do with."""
    if isinstance(error, (EpmdError, OSError)):
        return error
    trace = sys.exc_info()[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)} line {trace.tb_lineno}" if trace else "?"
    return EpmdError(f"{type(error).__name__}: {error} (at {where}; this is a defect of the collection: report it)")
