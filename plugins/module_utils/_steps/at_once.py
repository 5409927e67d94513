# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same work for many nodes at once, for each in its own network namespace. Private to the collection.

Standard: setns(2). One node of our own network namespace, which is what most hosts have, needs no child: what may hang,
as a file does, has one of its own.
"""

from __future__ import annotations

from typing import Callable, Sequence, TypeVar

from .._errors import EpmdError, in_words
from .._host.vms import Vm

T = TypeVar("T")
U = TypeVar("U")


def at_once(
    work: Callable[[T], U], items: Sequence[T], vm_of: Callable[[T], Vm | None], seconds: float
) -> list[U | EpmdError]:
    """What the work gives for each item, or its error, in their order.

    vm_of: a process in whose network namespace to work, None for our own. seconds: when to give up on an item.
    Errors: none. Those of an item are EpmdError: Ended where its process has ended meanwhile.
    """
    if len(items) == 1 and _namespace_of(vm_of(items[0])) is None:
        return [_result(work, items[0])]
    from .._host import children

    if any(_namespace_of(vm_of(item)) is not None for item in items):
        from .._host import inside  # noqa: F401

    outcomes = (
        children.at_once(
            lambda item: _in_its_namespace(work, item, vm_of(item)),
            items,
            seconds,
            lambda item: _namespace_of(vm_of(item)),
        )
        if items
        else []
    )
    return [in_words(outcome) if isinstance(outcome, Exception) else outcome for outcome in outcomes]


def _namespace_of(vm: Vm | None) -> int | None:
    return vm.namespace if vm else None


def _in_its_namespace(work: Callable[[T], U], item: T, vm: Vm | None) -> U:
    if vm is not None and vm.pid is not None and vm.namespace is not None:
        from .._host import inside

        inside.join_network(vm.pid)
    return work(item)


def _result(work: Callable[[T], U], item: T) -> U | EpmdError:
    try:
        return work(item)
    except Exception as error:
        return in_words(error)
