# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to start an Erlang VM that is like a running one, and that nobody but this host can reach. Pure.

Standard: `erlexec.c` of erts and `init.erl` for the flags; `auth.erl` for `-nocookie`; `epmd_srv.c` for KILL_REQ, which
an epmd with ERL_EPMD_RELAXED_COMMAND_CHECK follows also while it has names. Private to the collection.

Taken over are the environment, the boot variables and how nodes speak with each other (TLS, IPv6). Not taken over is
what would make it more than an empty node: the release that it boots, its flags in ERL_FLAGS, its -eval and -config.
"""

from __future__ import annotations

import os
import re
from typing import Mapping, Sequence

from .._record import Record
from .._wire.epmd import OTP_PROTOCOLS
from .command_line import flags_of

MARK = "ERL_EPMD_SCRATCH"
"""The variable that tells a scratch node and its epmds from all others. Every epmd of a node gets its ERL_EPMD_*."""

READY = "ready"
"""What a scratch node prints when it has its name and its cookie."""

BOOT_FILES = ("no_dot_erlang", "start_clean")
"""Both boot an empty node; with the second one it reads the `.erlang` of its user."""

# Few threads, and code that is loaded when it is used.
_SMALL = ["+S", "1:1", "+SDcpu", "1:1", "+SDio", "1", "+A", "1", "-mode", "interactive"]

_LEFT_OUT = re.compile(
    r"ERL_(?:[AZ]?FLAGS|OTP\d+_FLAGS|CRASH_DUMP.*|EPMD_.*)|RELEASE_.*|HEART_.*|LISTEN_.*|WATCHDOG_.*|NOTIFY_SOCKET"
)
"""Flags that would give it the name of the other node, and what is for one process alone."""

_TAKEN_OVER = ("boot_var", "ssl_dist_optfile", "ssl_dist_opt")


class Wanted(Record):
    """A scratch node that is to be started.

    name: with or without a host. epmd_port: of its own epmd. mark: the value of MARK. lifetime: the seconds after which
    it ends by itself, with its epmd. loads_cookie: whether it takes its cookie from the environment or the release, and
    from no file of its home.
    """

    name: str
    epmd_port: int
    mark: str
    lifetime: int
    loads_cookie: bool
    inet6: bool

    @property
    def alive(self) -> str:
        """Its name at epmd."""
        return self.name.partition("@")[0]


def root_of(arguments: Sequence[str], bindir: str) -> str:
    """The root directory of an Erlang, from the arguments of its VM, else from the directory of its programs."""
    given = [values[0] for flag, values in flags_of(arguments) if flag == "root" and values]
    return given[0] if given else os.path.dirname(os.path.dirname(bindir))


def boot_directories(arguments: Sequence[str], root: str) -> list[str]:
    """Where a boot file of this Erlang may be: in a release, beside the one that it was booted with."""
    boots = [values[0] for flag, values in flags_of(arguments) if flag == "boot" and values]
    return [*(os.path.dirname(boot) for boot in boots if os.path.isabs(boot)), os.path.join(root, "bin")]


def flags(arguments: Sequence[str], wanted: Wanted, boot: str) -> list[str]:
    """The arguments for erlexec. arguments: of the VM that it is to be like. boot: its boot file."""
    host = wanted.name.partition("@")[2]
    interface = "{0,0,0,0,0,0,0,1}" if wanted.inet6 else "{127,0,0,1}"
    words = [*_SMALL, "-noinput", "-hidden", "-connect_all", "false", "-start_epmd", "false"]
    words += ["-name" if "." in host or ":" in host else "-sname", wanted.name]
    words += ["-kernel", "inet_dist_use_interface", interface, "dist_auto_connect", "never", "-boot", boot]
    for flag, values in flags_of(arguments):
        if flag in _TAKEN_OVER or (flag == "proto_dist" and values and values[0] in OTP_PROTOCOLS):
            words += [f"-{flag}", *values]
    return [*words, *(["-nocookie"] if wanted.loads_cookie else []), "-eval", " ".join(_program(wanted).split())]


def environment(theirs: Mapping[str, str], wanted: Wanted, **settings: str) -> dict[str, str]:
    """The environment for erlexec. theirs: of the VM that it is to be like. settings: what is set beside that."""
    kept = {key: value for key, value in theirs.items() if not _LEFT_OUT.fullmatch(key)}
    return {**kept, "ERL_CRASH_DUMP_SECONDS": "0", **epmd_environment(wanted), **settings}


def epmd_environment(wanted: Wanted) -> dict[str, str]:
    """What its epmd is started with, by whom ever: only this host can reach it, and the node can end it."""
    return {
        MARK: wanted.mark,
        "ERL_EPMD_PORT": str(wanted.epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
    }


def _program(wanted: Wanted) -> str:
    """What the node runs. Its epmd ends with it only as long as nobody else has a name there."""
    load = """
        Cookie = case os:getenv("RELEASE_COOKIE") of
            false ->
                {ok, Content} = file:read_file(os:getenv("RELEASE_ROOT") ++ "/releases/COOKIE"),
                lists:takewhile(fun(Byte) -> Byte >= 32 end, binary_to_list(Content));
            Given -> Given
        end,
        erlang:set_cookie(node(), list_to_atom(Cookie)),
    """
    return f"""
        {load if wanted.loads_cookie else ""}
        spawn(fun() ->
            receive after {wanted.lifetime * 1000} -> ok end,
            catch begin
                Loopback = {{127,0,0,1}},
                {{ok, Names}} = erl_epmd:names(Loopback),
                [] = [Name || {{Name, _}} <- Names, Name =/= "{wanted.alive}"],
                {{ok, Socket}} = gen_tcp:connect(Loopback, {wanted.epmd_port}, [{{active, false}}]),
                ok = gen_tcp:send(Socket, <<0, 1, $k>>),
                gen_tcp:recv(Socket, 0, 1000)
            end,
            erlang:halt()
        end),
        io:put_chars("{READY}\\n").
    """
