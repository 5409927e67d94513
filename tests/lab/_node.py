# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Erlang node of the test's own, and a way to evaluate expressions in it without a trace."""

from __future__ import annotations

import os
import pwd
import select
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._process import Closable, LabError, Terminal, end, spawn, stop

if TYPE_CHECKING:
    from ._otp import Otp

# Requests and replies use two pipes of their own, so that distribution stays as the test has set it
# up, and standard output has nothing but the node's log. A request is a number and an expression; the
# reply repeats the number, so that a late one is recognised.
_CONTROL = """
spawn(fun() ->
    Port = open_port({{fd, {requests}, {replies}}}, [binary, {{packet, 4}}, eof]),
    Loop = fun Loop() ->
        receive
            {{Port, {{data, <<Number:4/binary, Text/binary>>}}}} ->
                {{Status, Term}} = try
                    {{ok, Tokens, _}} = erl_scan:string(unicode:characters_to_list(Text)),
                    {{ok, Expressions}} = erl_parse:parse_exprs(Tokens),
                    {{value, Value, _}} = erl_eval:exprs(Expressions, []),
                    {{$+, Value}}
                catch
                    Class:Reason -> {{$-, {{Class, Reason}}}}
                end,
                Printed = unicode:characters_to_binary(io_lib:format("~0tp", [Term])),
                port_command(Port, [Number, Status, Printed]),
                Loop();
            {{Port, eof}} ->
                halt()
        end
    end,
    Loop()
end).
"""

# The position of the listeners in net_kernel's state, and the size of their record, differ between
# releases; the tag and the position of the address do not.
_DISTRIBUTION_PORT = """
[Port || Field <- tuple_to_list(sys:get_state(net_kernel)), is_list(Field),
         Listen <- Field, is_tuple(Listen), element(1, Listen) =:= listen,
         {net_address, {_, Port}, _, _, _} <- [element(4, Listen)]]
"""

_FLUSH_LOG = "catch logger_std_h:filesync(default)"


class EvalError(Exception):
    """The expression failed in the node; the text is Erlang's own."""


class Node(Closable):
    """A running Erlang node. See Otp.node for the options.

    script: the command that starts it instead of erlexec, with the node's name and cookie. terminal: the terminal that
    it is started on.
    """

    def __init__(
        self,
        otp: Otp,
        name: str | None,
        *,
        epmd_port: int,
        cookie: str,
        home: Path | None,
        args: Sequence[str],
        env: Mapping[str, str],
        long_names: bool,
        user: str | None,
        set_cookie_arg: bool,
        start_epmd: bool,
        script: Sequence[str | Path] | None = None,
        terminal: Terminal | None = None,
    ) -> None:
        self.epmd_port = epmd_port
        self.cookie = cookie
        self.long_names = long_names
        self._name: str | None = None
        self._port: int | None = None
        self._suspended = False
        self._final_log: str | None = None
        self._terminal = terminal
        self._directory = tempfile.TemporaryDirectory(prefix="beamops-lab-")
        directory = Path(self._directory.name)
        self.home = home or directory / "home"
        self._log_file = directory / "log"
        _prepare_home(self.home, cookie, user)
        directory.chmod(0o711)

        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        # On one line, for `ps` and other readers of /proc/PID/cmdline.
        control = " ".join(_CONTROL.format(requests=requests, replies=replies).split())
        settings = {
            "HOME": str(self.home),
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_CRASH_DUMP_SECONDS": "0",
        }
        command: list[str | Path]
        if script is None:
            own = _own_arguments(name, cookie if set_cookie_arg else None, long_names, start_epmd)
            command = [otp.erlexec, *own, "-eval", control, *args]
        else:
            command = [*script, *args]
            settings["ERL_AFLAGS"] = f"-eval '{control}'"  # which erlexec takes before the script's own
        self._exchange = threading.Lock()
        self._number = 0
        self._received = bytearray()
        try:
            with self._log_file.open("wb") as output:
                self._process = spawn(
                    command,
                    env=otp.environment(**{**settings, **env}),
                    stdin=terminal.slave if terminal else subprocess.DEVNULL,
                    output=terminal.slave if terminal else output,
                    pass_fds=(requests, replies),
                    cwd=self.home,
                    user=user,
                )
        except BaseException:
            os.close(self._requests)
            os.close(self._replies)
            if terminal:
                terminal.close()
            self._directory.cleanup()
            raise
        finally:
            os.close(requests)
            os.close(replies)
        self.pid = self._process.pid
        try:
            # The first use of a function creates atoms; this has to be over before a test counts them.
            self.eval(_FLUSH_LOG, seconds=60)
            self._learn()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """Its full name, such as vic@host."""
        if self._name is None:
            self._learn()
        return self._name or "nonode@nohost"

    @property
    def short(self) -> str:
        """Its name at epmd, without the host."""
        return self.name.partition("@")[0]

    @property
    def port(self) -> int:
        """Its distribution port."""
        if self._port is None:
            self._learn()
        if self._port is None:
            raise LabError(f"{self.name} has no distribution port")
        return self._port

    @property
    def log(self) -> str:
        """Everything that the node has written to standard output and standard error."""
        if self._final_log is not None:
            return self._final_log
        if not self._suspended and self._process.poll() is None:
            self.eval(_FLUSH_LOG)
        return self._read_log()

    def eval(self, expression: str, seconds: float = 30) -> str:
        """Evaluate expressions in the node, and return the value of the last one, printed with `~0tp`.

        All evaluations run in the same process, so sockets that one opens stay open for the next.
        """
        text = expression.strip().removesuffix(".") + "."
        with self._exchange:
            self._number += 1
            number = struct.pack(">I", self._number)
            request = number + text.encode()
            try:
                os.write(self._requests, struct.pack(">I", len(request)) + request)
                reply = self._reply_to(number, time.monotonic() + seconds)
            except TimeoutError:
                raise TimeoutError(f"pid {self.pid} did not answer to {text}") from None
            except (BrokenPipeError, EOFError):
                raise LabError(f"pid {self.pid} is gone; its log: {self._read_log()}") from None
        printed = reply[1:].decode()
        if reply[:1] == b"-":
            raise EvalError(f"{text} failed with {printed}")
        return printed

    def suspend(self) -> None:
        """Stop it: the kernel accepts connections for it, but it does not answer."""
        stop(self._process)
        self._suspended = True

    def resume(self) -> None:
        """Let it run again."""
        self._process.send_signal(signal.SIGCONT)
        self._suspended = False

    def close(self) -> None:
        """Kill the node; its log can still be read."""
        if self._final_log is not None:
            return
        end(self._process)
        os.close(self._requests)
        os.close(self._replies)
        self._final_log = self._read_log()
        if self._terminal:
            self._terminal.close()
        self._directory.cleanup()

    def _learn(self) -> None:
        if self.eval("is_alive()") == "true":
            # As numbers, since some letters of a name can't be printed.
            letters = self.eval("list_to_tuple(atom_to_list(node()))").strip("{}")
            self._name = "".join(chr(int(letter)) for letter in letters.split(","))
            ports = self.eval(_DISTRIBUTION_PORT).strip("[]")
            self._port = int(ports.split(",")[0]) if ports else None

    def _read_log(self) -> str:
        if self._terminal:
            with self._log_file.open("ab") as file:
                file.write(self._terminal.read())
        return self._log_file.read_text(errors="replace")

    def _reply_to(self, number: bytes, deadline: float) -> bytes:
        while True:
            (length,) = struct.unpack(">I", self._receive(4, deadline))
            reply = self._receive(4 + length, deadline)[4:]
            del self._received[: 4 + length]
            if reply[:4] == number:
                return reply[4:]

    def _receive(self, size: int, deadline: float) -> bytes:
        """The first bytes received. They stay in the buffer, so that a reply is complete also after a timeout."""
        while len(self._received) < size:
            remaining = deadline - time.monotonic()
            poll = select.poll()
            poll.register(self._replies, select.POLLIN)
            if remaining <= 0 or not poll.poll(remaining * 1000):
                raise TimeoutError
            chunk = os.read(self._replies, 65536)
            if not chunk:
                raise EOFError
            self._received += chunk
        return bytes(self._received[:size])


def _own_arguments(name: str | None, cookie: str | None, long_names: bool, start_epmd: bool) -> list[str]:
    arguments = ["-noinput"]
    if name:
        host = "@127.0.0.1" if long_names and "@" not in name else ""
        arguments += ["-name" if long_names else "-sname", name + host]
    if cookie is not None:
        arguments += ["-setcookie", cookie]
    if not start_epmd:
        arguments += ["-start_epmd", "false"]
    return arguments


def _prepare_home(home: Path, cookie: str, user: str | None) -> None:
    home.mkdir(parents=True, exist_ok=True)
    cookie_file = home / ".erlang.cookie"
    cookie_file.unlink(missing_ok=True)
    with os.fdopen(os.open(cookie_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o400), "w") as file:
        file.write(cookie)
    if user:
        account = pwd.getpwnam(user)
        for path in (home, cookie_file):
            os.chown(path, account.pw_uid, account.pw_gid)
