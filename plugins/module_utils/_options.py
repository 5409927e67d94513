# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules, and which values of them are refused. Pure, and private to the collection.

Standard: the documentation of `epmd_register`, whose names these are. What Ansible itself checks stands in the argument
specification of the module.
"""

from __future__ import annotations

from ._errors import InvalidOption
from ._limits import MAX_NAME, MAX_TIMEOUT
from ._record import Record


class Options(Record):
    """The options of the module, as its documentation has them."""

    name: list[str]
    port: int | None = None
    cookie: str | None = None
    cookie_file: str | None = None
    epmd_port: int | None = None
    start_epmd: bool = True
    timeout: float = 10
    tls_certfile: str | None = None
    tls_keyfile: str | None = None
    tls_cafile: str | None = None

    def __repr__(self) -> str:
        return f"Options({self.name!r})"

    def wants(self, name: str) -> bool:
        """Whether the user asked for the node of this full name."""
        return not self.name or any(agrees(wanted, name) for wanted in self.name)


def check(options: Options) -> None:
    """Refuse values that make no sense. Errors: InvalidOption."""
    for name in options.name:
        alive, at, host = name.partition("@")
        if name.count("@") > 1 or not alive or (at and not host):
            raise InvalidOption(f"name {name!r} is not a node name: give ejabberd, or ejabberd@host")
        if len(alive.encode("utf-8", "surrogateescape")) > MAX_NAME:
            raise InvalidOption(f"name {name[:20]}... has more than {MAX_NAME} bytes, which no epmd can hold")
    if options.port is not None and len(options.name) != 1:
        raise InvalidOption(
            f"port {options.port} is for exactly one node, but name has {len(options.name)}: give one name"
        )
    for option, port in (("port", options.port), ("epmd_port", options.epmd_port)):
        if port is not None and not 0 < port < 65536:
            raise InvalidOption(f"{option} {port} is not a TCP port: give 1 to 65535")
    if not 0 < options.timeout <= MAX_TIMEOUT:  # which NaN is not, either
        raise InvalidOption(
            f"timeout {options.timeout:g} is not a time to wait: give seconds above 0, up to {MAX_TIMEOUT}"
        )


def agrees(wanted: str, name: str) -> bool:
    """Whether `vic` or `vic@host`, as a user gives it, means the node of this full name.

    A node that was started in a locale without UTF-8 takes each byte for a character: what a person
    types as one letter are two in its name.
    """
    spellings = {wanted, wanted.encode("utf-8", "surrogateescape").decode("latin-1")}
    return bool(spellings & {name, name.partition("@")[0]})
