# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line and the environment of an Erlang VM say. Pure.

Standard: `erlexec.c` of erts, which writes the command line; `init.erl` and `auth.erl` of kernel and stdlib, which read
it. A flag is `-name value ...`, up to the next flag or `--`. Private to the collection.
"""

from __future__ import annotations

import re
from typing import Mapping, Sequence

from .._legible import legible
from .._limits import MAX_SHOWN_COMMAND
from .._record import Record
from .._wire.epmd import OTP_PROTOCOLS

BLANK = "***"

# What is followed by a cookie: -setcookie, --cookie, --erlang-cookie= (rabbitmqctl), RELEASE_COOKIE= (env).
_COOKIE = "(?i)[^=]*cookie[^=]*(=)?"


class CommandLine(Record):
    """The options that a node was started with; None or empty where one was not given.

    They are hints: other settings stand in a sys.config, and of a flag that is given twice the releases of OTP take
    one, the other or none.

    name: `vic` or `vic@host`. epmd_port: also from ERL_EPMD_PORT. cookie, cookie_source: see `cookies.py`; never to be
    shown. release_root: the Elixir release that may have its cookie. without_epmd: a flag by which it may use no epmd.
    erl_epmd_port: also from erl_epmd_node_listen_port, its name since OTP 27. starts_epmd: False with `-start_epmd
    false`. silent: the flag by which it may listen nowhere. tls: whether it is likelier to speak TLS than not.
    is_protocol_sure: whether that, and inet6, is what every release of OTP makes of these flags. tls_optfile,
    tls_options: `-ssl_dist_optfile` and the pairs of `-ssl_dist_opt`. listen_range: the first and last port that it may
    listen on.
    """

    name: str | None
    cookie: str | None
    cookie_source: str
    home: str | None
    config_home: str | None
    release_root: str | None
    bindir: str | None
    epmd_port: int | None
    without_epmd: str
    erl_epmd_port: str | None
    starts_epmd: bool
    epmd_environment: dict[str, str]
    silent: str
    hidden: bool
    inet6: bool
    tls: bool
    is_protocol_sure: bool
    tls_optfile: str | None
    tls_options: dict[str, str]
    listen_range: tuple[int, int] | None

    def __repr__(self) -> str:
        return f"CommandLine({self.name!r})"


def flags_of(arguments: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each flag of init.erl among the arguments of a VM, without its `-`, and its values."""
    # What stands before the first `--` are flags of the emulator, which have other meanings.
    start = arguments.index("--") if "--" in arguments else 0
    flags: list[tuple[str, list[str]]] = []
    values: list[str] = []
    for argument in arguments[start:]:
        if argument == "-extra":
            break
        if argument.startswith("-"):  # also `-` and `--`, whose values belong to no flag
            values = []
            flags.append((argument[1:], values))
        else:
            values.append(argument)
    return flags


def _number(text: str | None) -> int | None:
    if not text or not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        return None
    return int(text) or None


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> CommandLine:
    """Read a command line (`argv`, with the program first) and an environment."""
    flags = flags_of(list(arguments[1:]))

    def every(flag: str) -> list[list[str]]:
        return [values for name, values in flags if name == flag]

    def first(flag: str) -> str | None:
        return next((values[0] for values in every(flag) if values), None)

    name = first("sname") or first("name")
    if name is not None and not name.isascii():
        # The node takes a byte that is not UTF-8 for a character of Latin-1.
        name = re.sub(
            "[\udc80-\udcff]",
            lambda match: chr(ord(match.group()) - 0xDC00),  # pragma: no mutate: % and ^ do the same
            name,
        )
    # With two values it is the cookie of another node.
    cookies = [values for values in every("setcookie") if len(values) < 2]
    # The script of a release gives its cookie on the command line, which may be cut or rewritten since then.
    release = environment if _is_release(name, environment) and not cookies else {}
    # Of several flags the first counts, and inside one flag the last value (init.erl, application_controller.erl).
    kernel = {key: value for values in reversed(every("kernel")) for key, value in zip(values[::2], values[1::2])}
    cookie, source = _cookie(cookies, release)
    protocols = every("proto_dist")
    protocol = first("proto_dist") or "inet_tcp"
    low, high = _number(kernel.get("inet_dist_listen_min")), _number(kernel.get("inet_dist_listen_max"))
    return CommandLine(
        name=name,
        cookie=cookie,
        cookie_source=source,
        home=first("home") or environment.get("HOME"),
        config_home=environment.get("XDG_CONFIG_HOME"),
        release_root=release.get("RELEASE_ROOT"),
        bindir=first("bindir") or environment.get("BINDIR"),
        epmd_port=_number(first("epmd_port")) or _number(environment.get("ERL_EPMD_PORT")),
        without_epmd=_without_epmd(first("epmd_module") or kernel.get("epmd_module"), bool(every("no_epmd")), protocol),
        erl_epmd_port=first("erl_epmd_port") or kernel.get("erl_epmd_node_listen_port"),
        starts_epmd=first("start_epmd") != "false",
        epmd_environment={key: value for key, value in environment.items() if key.startswith("ERL_EPMD_")},
        silent="-dist_listen false" if first("dist_listen") == "false" else _lent(name),
        hidden=every("hidden")[:1] == [[]] or first("hidden") == "true",
        inet6=protocol.startswith("inet6"),
        tls=protocol.endswith("_tls")
        or (protocol not in OTP_PROTOCOLS and bool(every("ssl_dist_optfile") or every("ssl_dist_opt"))),
        # A line with neither may be cut or rewritten. Two flags mean the first or inet_tcp, by release.
        is_protocol_sure=protocol in OTP_PROTOCOLS and len(protocols) < 2 and (name is not None or bool(protocols)),
        tls_optfile=first("ssl_dist_optfile"),
        tls_options={key: value for values in every("ssl_dist_opt") for key, value in zip(values[::2], values[1::2])},
        listen_range=(low, high or low) if low else None,
    )


def _without_epmd(module: str | None, no_epmd: bool, protocol: str) -> str:
    if module not in (None, "erl_epmd"):
        return f"-epmd_module {module}"
    if protocol not in OTP_PROTOCOLS:
        return f"-proto_dist {protocol}"
    return "-no_epmd" if no_epmd else ""


def _lent(name: str | None) -> str:
    """The flag of a node that asks the first node it connects to for a name, and till then is called `undefined`."""
    return "-sname undefined" if name is not None and name.partition("@")[0] == "undefined" else ""


def _is_release(name: str | None, environment: Mapping[str, str]) -> bool:
    """Whether RELEASE_* in an environment come from the script that started this node.

    That script always sets RELEASE_NODE. A node that was started by another node inherits the other's variables.
    """
    alive = environment.get("RELEASE_NODE", "").partition("@")[0]
    return bool(alive) and (name is None or name.partition("@")[0] == alive)


def _cookie(setcookie: list[list[str]], release: Mapping[str, str]) -> tuple[str | None, str]:
    # auth.erl: exactly one -setcookie, with a value; else the file counts.
    if list(map(len, setcookie)) == [1]:
        ((cookie,),) = setcookie
        return cookie, "-setcookie on its command line"
    if release.get("RELEASE_COOKIE"):
        return release["RELEASE_COOKIE"], "RELEASE_COOKIE in its environment"
    return None, ""


def shown(arguments: Sequence[str], limit: int = MAX_SHOWN_COMMAND) -> str:
    """A command line for a person: its cookie blanked, its length limited."""
    # An argument can be a whole command line itself (sh -c, elixir --erl), so its words count.
    words = " ".join(arguments).split()
    short = "-c" if any(word.endswith("erl_call") for word in words) else ""
    parts: list[str] = []
    secret = False
    for word in words:
        found = re.match(_COOKIE, word)
        if found and found.group(1):
            parts.append(found.group() + BLANK)
        elif word.startswith("-"):
            secret = found is not None or word == short
            parts.append(word)
        else:
            # After -setcookie come one or two values, and either may be a cookie.
            parts.append(BLANK if secret else word)
    return legible(" ".join(parts), limit)
