# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record behaves as a `typing.NamedTuple`, for which it stands in."""

from __future__ import annotations

import pickle
from typing import Any, Callable, NamedTuple

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._record import Record


class Ours(Record):
    name: str
    port: int = 4369
    trouble: str | None = None

    @property
    def where(self) -> str:
        return f"{self.name}:{self.port}"


class Theirs(NamedTuple):
    name: str
    port: int = 4369
    trouble: str | None = None

    @property
    def where(self) -> str:
        return f"{self.name}:{self.port}"


@pytest.mark.parametrize(
    "use",
    [
        lambda kind: tuple(kind("a")),
        lambda kind: tuple(kind("a", 1, "b")),
        lambda kind: tuple(kind(trouble="b", name="a")),
        lambda kind: tuple(kind("a")._replace(port=2)),
        lambda kind: kind("a", 1)._asdict(),
        lambda kind: kind("a").where,
        lambda kind: kind("a") == ("a", 4369, None),
        lambda kind: hash(kind("a")) == hash(("a", 4369, None)),
        lambda kind: repr(kind("a")).partition("(")[2],
        lambda kind: tuple(pickle.loads(pickle.dumps(kind("a", 3)))),
        lambda kind: sorted([kind("b"), kind("a", 2), kind("a", 1)])[0][:2],
        lambda kind: kind._fields,
    ],
)
def test_it_does_as_a_named_tuple(use: Callable[[Any], object]) -> None:
    assert use(Ours) == use(Theirs)


@pytest.mark.parametrize(
    "use",
    [
        lambda kind: kind(),
        lambda kind: kind(port=1),
        lambda kind: kind("a", 1, None, 4),
        lambda kind: kind("a", nme="b"),
        lambda kind: kind("a", name="b"),
        lambda kind: kind("a", 1, None, port=2),
        lambda kind: kind("a")._replace(nme="b"),
    ],
)
def test_it_takes_its_fields_alone(use: Callable[[Any], object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        use(Theirs)
    with pytest.raises(TypeError, match="Ours has the fields name, port, trouble"):
        use(Ours)


def test_a_field_cannot_be_set() -> None:
    record: Any = Ours("a")
    with pytest.raises(AttributeError):
        record.port = 1
