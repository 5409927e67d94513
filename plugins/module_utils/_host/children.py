# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work done in children of this process: several at once, each with an end, its result sent back.

Standard: fork(2), pipe(7), record locks of fcntl(2). Never threads: some of the work forks, too, to enter the place of
a node, and what one thread has locked while another forks (an import, a codec) is locked in the child for ever. Private
to the collection.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import pickle
import select
import signal
import time
from typing import IO, Any, Callable, Generic, Iterator, Sequence, TypeVar

from .._deadline import Deadline
from .._errors import EpmdError, TimedOut, in_words
from .._limits import KILL_SECONDS, MAX_AT_ONCE, MAX_CHILD_RESULT

T = TypeVar("T")
U = TypeVar("U")

POLL_SECONDS = 0.0001
LOCK_POLL_SECONDS = 0.01

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
        """Read what it has sent; whether that was all, or too much."""
        part = os.read(self.reading, _CHUNK)
        self._data += part
        return not part or len(self._data) > MAX_CHILD_RESULT

    def close(self) -> int:
        """End it, and give its status as waitpid(2) does. Usually it has ended; it must not outlive its time.

        One that SIGKILL can't end, since a file system hangs, is left to the kernel. Its status is that of the others.
        """
        os.close(self.reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        end, pause = time.monotonic() + KILL_SECONDS, POLL_SECONDS
        while time.monotonic() < end:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return status
            time.sleep(pause)
            pause *= 2
        return signal.SIGKILL

    def outcome(self, in_time: bool) -> T | Exception:
        """End it, and give its result or its error."""
        status = self.close()
        if not in_time:
            return TimedOut(f"the work on it did not end within {self._seconds:g} s: run again")
        if len(self._data) > MAX_CHILD_RESULT:
            return EpmdError(
                f"the work on it gave a result of more than {MAX_CHILD_RESULT >> 20} MiB "
                "(this is a defect of the collection: report it)"
            )
        try:
            return pickle.loads(bytes(self._data))  # type: ignore[no-any-return]
        except (EOFError, pickle.UnpicklingError):
            how = f"was killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended"
            return EpmdError(f"the process that worked on it {how} before it had a result: run again")


def result_of(work: Callable[[], T], seconds: float) -> T:
    """The result of `work`, done in a child. Errors: those of the work, and as in `at_once`."""
    (outcome,) = at_once(lambda _item: work(), [None], seconds)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def at_once(work: Callable[[T], U], items: Sequence[T], seconds: float) -> list[U | Exception]:
    """The result of the work on each item, or its error, in their order.

    Each item has a child of its own, of which MAX_AT_ONCE run at the same time; in such a child one after the other,
    so that no level multiplies them. seconds: when a child is given up. The errors are EpmdError and OSError; any other
    becomes one (`defect`).
    """
    most = 1 if _is_child else MAX_AT_ONCE
    outcomes: dict[int, U | Exception] = {}
    waiting = list(enumerate(items))[::-1]
    running: dict[int, _Child[U]] = {}
    with _locks() if len(items) > 1 else contextlib.nullcontext():
        try:
            while waiting or running:
                while waiting and len(running) < most:
                    place, item = waiting.pop()
                    try:
                        running[place] = _Child(lambda item=item: work(item), seconds)  # type: ignore[misc]
                    except OSError as error:
                        outcomes[place] = EpmdError(f"no process could be started ({error.strerror}): run again")
                if running:
                    _collect(running, outcomes)
        finally:
            for child in running.values():
                child.close()
    return [outcomes[place] for place in range(len(items))]


def _collect(running: dict[int, _Child[U]], outcomes: dict[int, U | Exception]) -> None:
    """Wait until a child sends something or its time is over, and move the outcomes of those that are done."""
    patience = min(child.left() for child in running.values())
    sent = select.select([child.reading for child in running.values()], [], [], patience)[0]
    for place, child in list(running.items()):
        ended = child.reading in sent and child.take()
        if ended or not child.left():
            del running[place]
            outcomes[place] = child.outcome(ended)


_is_child: list[bool] = []
"""Not empty in a child."""

_lock_file: list[int] = []
"""The descriptor of the file whose bytes are the locks of `alone`; empty in a process that works alone."""


@contextlib.contextmanager
def _locks() -> Iterator[None]:
    """A file without a name for the locks of the children that are forked in this block, and of theirs."""
    if _lock_file:
        yield
        return
    with _nameless_file() as file:
        _lock_file[:] = [file.fileno()]
        try:
            yield
        finally:
            _lock_file.clear()


def _nameless_file() -> IO[bytes]:
    """A file in memory, so that a full disk is no obstacle; on the disk where there is none, as before Python 3.8."""
    try:
        return open(os.memfd_create("locks"), "r+b", buffering=0)
    except (AttributeError, OSError):
        import tempfile

        return tempfile.TemporaryFile()


@contextlib.contextmanager
def alone(key: int, deadline: Deadline) -> Iterator[None]:
    """A block that only one of the children of an `at_once` is in at a time, for each key (0 or higher).

    A child that is killed in it leaves it. Errors: TimedOut.
    """
    while _lock_file:
        try:
            fcntl.lockf(_lock_file[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, key)
            break
        except (BlockingIOError, PermissionError):  # another one has it: EAGAIN or EACCES
            time.sleep(LOCK_POLL_SECONDS)
        try:
            deadline.left()
        except TimedOut:
            seconds = f"{deadline.seconds:g} s"
            raise TimedOut(f"the same work for another node did not end within {seconds}: run again") from None
    try:
        yield
    finally:
        if _lock_file:
            fcntl.lockf(_lock_file[0], fcntl.LOCK_UN, 1, key)


def _live(writing: int, work: Callable[[], Any]) -> None:
    """What a child does from its start to its end: it never returns."""
    _is_child.append(True)
    try:
        result = pickle.dumps(work())
    except BaseException as error:
        result = pickle.dumps(defect(error))
    try:
        with open(writing, "wb") as pipe:
            pipe.write(result)
    finally:
        os._exit(0)


def defect(error: BaseException) -> Exception:
    """An EpmdError or OSError as it is; for any other, which is a mistake of ours, an EpmdError that says where."""
    return error if isinstance(error, (EpmdError, OSError)) else in_words(error)
