# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Erlang client, which reaches a node through epmd, as any other node does."""

from __future__ import annotations

import re
import secrets
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._process import LabError, end, spawn

if TYPE_CHECKING:
    from ._node import Node
    from ._otp import Otp

# Distribution is started in the code and not by -sname: a client that finds no epmd can't start it, and
# that counts as a failed ping.
_PING = """
Answer = case net_kernel:start(['{client}', {kind}]) of
    {{ok, _}} -> net_adm:ping('{node}');
    {{error, _}} -> pang
end,
io:format("~n~s~n", [Answer]),
halt().
"""


def client_pings(otp: Otp, node: Node, args: Sequence[str] = ()) -> str:
    """Ping the node from a hidden node of this OTP, with the node's cookie and epmd; returns `pong` or `pang`.

    Adds an atom and a known node to the pinged node.
    """
    client = f"probe_{secrets.token_hex(6)}" + ("@127.0.0.1" if node.long_names else "")
    kind = "longnames" if node.long_names else "shortnames"
    ping = " ".join(_PING.format(client=client, kind=kind, node=node.name).split())
    with tempfile.TemporaryDirectory(prefix="beamops-lab-") as home:
        # The resolver may not know the node's host name.
        resolver = Path(home, "inetrc")
        host = node.name.partition("@")[2]
        resolver.write_text(f'{{host, {{127,0,0,1}}, ["{host}"]}}.\n{{lookup, [file, native]}}.\n')
        env = otp.environment(
            HOME=home,
            ERL_INETRC=str(resolver),
            ERL_EPMD_PORT=str(node.epmd_port),
            ERL_CRASH_DUMP_SECONDS="0",
        )
        command: list[str | Path] = [otp.erlexec, "-noinput", "-hidden", "-start_epmd", "false"]
        command += ["-setcookie", node.cookie, *args, "-eval", ping]
        process = spawn(command, env=env, output=subprocess.PIPE, cwd=Path(home))
        try:
            output = process.communicate(timeout=60)[0].decode(errors="replace")
        finally:
            end(process)
    # The client may log something before or after the answer.
    answer = re.search(r"^(pong|pang)$", output, re.MULTILINE)
    if answer is None:
        raise LabError(f"the client printed neither pong nor pang: {output}")
    return answer[0]
