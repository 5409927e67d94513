# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tuple with named fields, as `typing.NamedTuple`, whose classes cost next to nothing to make.

Standard: `typing.NamedTuple`, which is what type checkers take it for. That compiles the annotation of each field and
the constructor of each class: on a target, where nothing is kept from one run to the next, a quarter of a millisecond
for each. Private to the collection.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

__all__ = ["Record"]

if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:

    class Record(tuple):
        """The base of a class whose annotations are its fields, in this order; a value there is a default."""

        _fields: tuple = ()
        _defaults: dict = {}  # noqa: RUF012 # never changed

        def __init_subclass__(cls) -> None:
            cls._fields = tuple(cls.__annotations__)
            cls._defaults = {name: vars(cls)[name] for name in cls._fields if name in vars(cls)}
            for place, name in enumerate(cls._fields):
                setattr(cls, name, property(itemgetter(place)))

        def __new__(cls, *values: Any, **named: Any) -> Record:
            """Errors: TypeError for a field that is missing, or too many."""
            if named or len(values) != len(cls._fields):
                given = {**cls._defaults, **named}
                rest = cls._fields[len(values) :]
                if set(named) - set(rest) or not set(rest) <= set(given) or len(values) > len(cls._fields):
                    raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
                values += tuple([given[name] for name in rest])
            return tuple.__new__(cls, values)

        def __getnewargs__(self) -> tuple:
            return tuple(self)

        def __repr__(self) -> str:
            fields = (f"{name}={value!r}" for name, value in zip(self._fields, self))
            return f"{type(self).__name__}({', '.join(fields)})"

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self))

        def _replace(self, **changed: Any) -> Record:
            """The same with other values for these fields. Errors: TypeError for one that it does not have."""
            return type(self)(**{**self._asdict(), **changed})
