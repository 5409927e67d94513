# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work done in children of this process: several at once, each with an end, its result sent back.

Standard: fork(2), socketpair(2), record locks of fcntl(2). Never threads: some of the work forks, too, to enter the
place of a node, and what one thread has locked while another forks (an import, a codec) is locked in the child for
ever. Private to the collection.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import pickle
import select
import signal
import socket
import struct
import time
from collections import deque
from typing import IO, Any, Callable, Generic, Iterator, Sequence, TypeVar

from .._deadline import Deadline
from .._errors import EpmdError, TimedOut, in_words
from .._limits import KILL_SECONDS, MAX_AT_ONCE, MAX_CHILD_RESULT

T = TypeVar("T")
U = TypeVar("U")

POLL_SECONDS = 0.0001
LOCK_POLL_SECONDS = 0.01

FIRST_AT_ONCE = 2
"""Children to begin with: the next one costs more than the work on a node in good health."""

PATIENCE_SECONDS = 0.01
"""How long to wait for any of them before there is one more; a node in good health takes 3 ms."""

_CHUNK = 1 << 16
_NUMBER = struct.Struct("=I")
_SIZE = struct.Struct("=Q")


class _Child(Generic[T]):
    """A running child, which works on one item after the other; closed, it is gone.

    location: the key of the place in which its last item had to be worked on, None for our own.
    """

    location: object = None

    def __init__(self, work: Callable[[int], T]) -> None:
        self.end, theirs = socket.socketpair()
        try:
            gc.freeze()  # its collector would copy every page of ours
            self._pid = os.fork()
        except OSError:
            self.end.close()
            theirs.close()
            raise
        if self._pid == 0:
            self.end.close()
            _live(theirs, work)
        theirs.close()
        _ends.append(self.end)

    def give(self, number: int, location: object, seconds: float) -> None:
        """Have it work on the item with this number, which lies in this place, for that many seconds at most."""
        self.number, self.location = number, location
        self._seconds, self._until = seconds, time.monotonic() + seconds
        self._data = bytearray()
        with contextlib.suppress(OSError):  # it has died; then there is no answer
            self.end.sendall(_NUMBER.pack(number))

    def left(self) -> float:
        """Seconds until the end of its time, 0 at least."""
        return max(0.0, self._until - time.monotonic())

    def take(self) -> bool:
        """Read what it has sent; whether there is no more to come: that was all of it, or too much, or it has died."""
        try:
            part = self.end.recv(_CHUNK)
        except ConnectionError:  # it died before it had read its item
            part = b""
        self._data += part
        return not part or self._size() > MAX_CHILD_RESULT or self.is_done()

    def _size(self) -> int:
        """The size of its result, as far as that is known."""
        return _SIZE.unpack_from(self._data)[0] if len(self._data) >= _SIZE.size else 0

    def is_done(self) -> bool:
        """Whether its result is complete."""
        return len(self._data) >= _SIZE.size and len(self._data) == _SIZE.size + self._size() <= MAX_CHILD_RESULT

    def result(self) -> T | Exception:
        """Its result, which is complete, or its error."""
        return pickle.loads(bytes(self._data[_SIZE.size :]))  # type: ignore[no-any-return]

    def close(self) -> int:
        """End it, and give its status as waitpid(2) does. It must not outlive its time.

        One that SIGKILL can't end, since a file system hangs, is left to the kernel. Its status is that of the others.
        """
        _ends.remove(self.end)
        with contextlib.suppress(OSError):
            self.end.close()
        with contextlib.suppress(OSError):  # it has ended
            os.kill(self._pid, signal.SIGKILL)
        end, pause = time.monotonic() + KILL_SECONDS, POLL_SECONDS
        with contextlib.suppress(OSError):  # where SIGCHLD is ignored, nobody is told how it ended
            while time.monotonic() < end:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                if pid:
                    return status
                time.sleep(pause)
                pause *= 2
        return signal.SIGKILL

    def failure(self, in_time: bool) -> Exception:
        """End it, and say why it has no result."""
        status = self.close()
        if not in_time:
            return TimedOut(f"the work on it did not end within {self._seconds:g} s: run again")
        if self._size() > MAX_CHILD_RESULT:
            return EpmdError(
                f"the work on it gave a result of more than {MAX_CHILD_RESULT >> 20} MiB "
                "(this is a defect of the collection: report it)"
            )
        how = f"was killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended"
        return EpmdError(f"the process that worked on it {how} before it had a result: run again")


def result_of(work: Callable[[], T], seconds: float) -> T:
    """The result of `work`, done in a child. Errors: those of the work, and as in `at_once`."""
    (outcome,) = at_once(lambda _item: work(), [None], seconds)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def at_once(
    work: Callable[[T], U],
    items: Sequence[T],
    seconds: float,
    location_of: Callable[[T], object] = lambda _item: None,
) -> list[U | Exception]:
    """The result of the work on each item, or its error, in their order.

    A few children take one item after the other. While none of them has an answer for PATIENCE_SECONDS there is one
    more, up to MAX_AT_ONCE: items that hang or are slow do not delay the others. In such a child one item after the
    other, so that no level multiplies them. seconds: when the work on an item is given up.

    location_of: the key of the place that the work on an item enters, as a namespace; None for our own. What has been
    entered can't be left, so a child takes no item of another place after that.

    The errors are EpmdError and OSError; any other becomes one (`defect`).
    """
    pool = _Pool(work, items, seconds, location_of)
    with _locks() if len(items) > 1 else contextlib.nullcontext():
        try:
            while pool.waiting or pool.running:
                pool.start()
                pool.collect()
        finally:
            for child in pool.running:
                child.close()
    return [pool.outcomes[number] for number in range(len(items))]


class _Pool(Generic[T, U]):
    """The children of one `at_once`, the numbers of the items that wait for one, and the outcomes of the others."""

    def __init__(
        self, work: Callable[[T], U], items: Sequence[T], seconds: float, location_of: Callable[[T], object]
    ) -> None:
        self.waiting = deque(range(len(items)))
        self.running: list[_Child[U]] = []
        self.outcomes: dict[int, U | Exception] = {}
        self._work: Callable[[int], U] = lambda number: work(items[number])
        self._locations = [location_of(item) for item in items]
        self._seconds = seconds
        self._most = 1 if _is_child else MAX_AT_ONCE
        self._wanted = min(self._most, FIRST_AT_ONCE)

    def start(self) -> None:
        """Start the children that are wanted, as long as items wait."""
        while self.waiting and len(self.running) < self._wanted:
            try:
                child: _Child[U] = _Child(self._work)
            except OSError as error:
                if self.running:  # which will take it
                    return
                number = self.waiting.popleft()
                self.outcomes[number] = EpmdError(f"no process could be started ({error.strerror}): run again")
            else:
                self.running.append(child)
                self._give(child)

    def _give(self, child: _Child[U]) -> None:
        number = self.waiting.popleft()
        child.give(number, self._locations[number], self._seconds)

    def collect(self) -> None:
        """Wait until a child sends something or its time is over, and give the next items to those that are done."""
        if not self.running:
            return
        patience = min(child.left() for child in self.running)
        may_grow = bool(self.waiting) and self._wanted < self._most
        ends = [child.end for child in self.running]
        sent = select.select(ends, [], [], min(patience, PATIENCE_SECONDS) if may_grow else patience)[0]
        self._wanted += may_grow and not sent
        for child in list(self.running):
            if child.end in sent and child.take():
                self._next(child)
            elif not child.left():
                self._end(child, child.failure(in_time=False))

    def _next(self, child: _Child[U]) -> None:
        """Keep the outcome of a child, and give it the next item if it can take that."""
        if not child.is_done():
            self._end(child, child.failure(in_time=True))
            return
        outcome = child.result()
        if self.waiting and child.location in (None, self._locations[self.waiting[0]]):
            self.outcomes[child.number] = outcome
            self._give(child)
        else:
            child.close()
            self._end(child, outcome)

    def _end(self, child: _Child[U], outcome: U | Exception) -> None:
        self.running.remove(child)
        self.outcomes[child.number] = outcome


_ends: list[socket.socket] = []
"""Our ends of the connections to our children: those of one child are no business of the next."""

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


def _live(end: socket.socket, work: Callable[[int], Any]) -> None:
    """What a child does from its start to its end: it never returns."""
    _is_child.append(True)
    try:
        # An item that it waits for must not keep it alive when its parent is gone.
        for other in _ends:
            other.close()
        _ends[:] = [end]
        while True:
            asked = end.recv(_NUMBER.size)
            if not asked:
                break
            end.sendall(_answer(work, *_NUMBER.unpack(asked)))
    finally:
        os._exit(0)


def _answer(work: Callable[[int], Any], number: int) -> bytes:
    """The result of the work on an item, or its error, after its size."""
    try:
        result = pickle.dumps(work(number))
    except BaseException as error:
        result = pickle.dumps(defect(error))
    return _SIZE.pack(len(result)) + result


def defect(error: BaseException) -> Exception:
    """An EpmdError or OSError as it is; for any other, which is a mistake of ours, an EpmdError that says where."""
    return error if isinstance(error, (EpmdError, OSError)) else in_words(error)
