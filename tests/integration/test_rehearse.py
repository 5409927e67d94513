# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook beamops.epmd.rehearse on hosts of the lab: who would come back, who would not, and nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT, COOKIE, run_ansible
from ansible_collections.beamops.epmd.tests.lab import Fleet, Host, Otp, Plan, wait_until

LOOK = """
ps -e -o pid=,user=,lstart=,args= | grep -E '[b]eam|[e]pmd'
ss -Hltnp | sort
find /root /opt -xdev -maxdepth 2
"""

# A node with its cookie in a file of its own home: in Debian, most are like this.
FILED = """
umask 077
mkdir /opt/home
printf %s {cookie} >/opt/home/.erlang.cookie
chmod 400 /opt/home/.erlang.cookie
chown -R {user} /opt/home
exec {prefix} setpriv --reuid={user} --clear-groups env HOME=/opt/home {erl} -noinput -sname filed
"""


class Row(NamedTuple):
    """A row of the table."""

    verdict: str
    why: str


def seen(host: Host) -> tuple[str, dict[str, int]]:
    """What runs and listens on a host, the files where a node could leave some, and the table of its epmd."""
    names: dict[str, int] = {}
    with contextlib.suppress(OSError):
        names = host.names()
    return host.run(["sh", "-c", LOOK]), names


def rows(output: str) -> dict[tuple[str, str], Row]:
    """The table, by host and node."""
    _before, head, table = output.partition("\nhost ")
    assert head, output
    found = [re.split(r" {2,}", line, maxsplit=3) for line in table.split("\n\n")[0].splitlines()[1:]]
    return {(row[0], row[1]): Row(row[2], row[3]) for row in found}


PLANS = [
    Plan("well", nodes=("left", "right")),
    *(Plan(name, nodes=()) for name in ("filed", "none", "uncooked", "boxed", "bare", "far")),
    Plan("stuck"),
    Plan("mere"),
]


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory() as short:
        Path(short).chmod(0o755)
        otp = Otp.of(25).copy(Path(short) / "erlang")
        with Fleet(PLANS, otp, Path(short)) as running:
            hosts = {host.name: host for host in running.hosts}
            erl = otp.root / "bin" / "erl"
            for name, user, prefix in (
                ("filed", "nobody", ""),
                ("uncooked", "root", ""),
                ("boxed", "root", "unshare --pid --fork --kill-child --mount-proc"),
            ):
                start = FILED.format(cookie=COOKIE, user=user, erl=erl, prefix=prefix)
                hosts[name].spawn(["sh", "-eu", "-c", start])
                wait_until(lambda name=name: "filed" in seen(hosts[name])[1], f"the node on {name}")  # type: ignore[misc]
            hosts["uncooked"].run(["rm", "/opt/home/.erlang.cookie"])
            hosts["stuck"].run(["mount", "--bind", "/etc/hostname", str(otp.bindir / "epmd")])
            yield running


def inventory(fleet: Fleet) -> Path:
    """Its hosts, some with what makes them fail."""
    file = fleet.inventory()
    content = json.loads(file.read_text())
    own: dict[str, dict[str, Any]] = {
        "bare": {"ansible_python_interpreter": "/nonexistent/python3"},
        "far": {"ansible_port": 1},
        "mere": {
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_become_user": "nobody",
            "ansible_become_method": "ansible.builtin.su",
            "ansible_become_flags": "-s /bin/sh",
            "rehearse_become": True,
        },
    }
    for host, variables in own.items():
        content["all"]["hosts"][host].update(variables)
    content["all"]["vars"].update(rehearse_become=False, ansible_pipelining=True)
    file.write_text(json.dumps(content))
    return file


def scratch_nodes(host: Host) -> list[int]:
    """The pids of the scratch nodes on a host, as this host numbers them."""
    lines = host.run(["sh", "-c", "pgrep -f 'sname [r]ehearse_1' || :"]).split()
    return [int(line) for line in lines]


EXPECTED = {
    ("well", "left@well"): ("would work", r"user root, Erlang .*/bin: epmd was started; registered"),
    ("well", "right@well"): ("would work", r"user root, Erlang .*/bin: epmd was started; registered"),
    ("filed", "filed@filed"): ("would work", r"user nobody, Erlang .*/bin: epmd was started; registered"),
    ("none", "-"): ("no node", r"no Erlang node runs here; .*: -e rehearse_erl=erl"),
    ("uncooked", "filed@uncooked"): ("would not work", r"no cookie at /opt/home/\.erlang\.cookie or .*"),
    ("boxed", "filed@boxed"): ("not rehearsed", r"it runs in a container .*: rehearse inside of it"),
    ("bare", "-"): ("no python", r".*/nonexistent/python3.*"),
    ("far", "-"): ("unreachable", r".*Connection refused.*"),
    ("stuck", "vic@stuck"): ("would not work", r"\S*/epmd -daemon could not be started: \w.*"),
    ("mere", "vic"): ("would not work", r".* belongs to root, and nobody may not see its sockets: run with become"),
}


SENTENCE = (
    "the recovery would work on 2 of 9 hosts, would not on 3, and was not tried on 2; "
    "1 host could not be reached, 1 has no Python\n"
)


def test_a_fleet_then_a_run_that_is_killed_and_the_next_one(fleet: Fleet, tmp_path: Path) -> None:
    before = {host.name: seen(host) for host in fleet.hosts}
    command = ["ansible-playbook", "-i", str(inventory(fleet)), "beamops.epmd.rehearse"]
    done = run_ansible([*command, "-v"], tmp_path, {})
    assert done.returncode != 0, done.stdout
    assert {host.name: seen(host) for host in fleet.hosts} == before
    found = rows(done.stdout)
    assert {key: row.verdict for key, row in found.items()} == {
        key: verdict for key, (verdict, _why) in EXPECTED.items()
    }
    for key, (_verdict, why) in EXPECTED.items():
        assert re.fullmatch(why, found[key].why), found[key]
    assert SENTENCE in done.stdout

    well = next(host for host in fleet.hosts if host.name == "well")
    limited = [*command, "--limit", "well"]
    with subprocess.Popen(limited, stdout=subprocess.DEVNULL, start_new_session=True, cwd=CHECKOUT) as killed:
        wait_until(lambda: scratch_nodes(well), "a scratch node")
        os.killpg(killed.pid, signal.SIGKILL)
        well.run(["sh", "-c", "pkill -KILL python || :"])  # the module, unless it has ended with its connection
    (left,) = scratch_nodes(well)
    assert seen(well) != before["well"]
    again = run_ansible(limited, tmp_path, {})
    assert again.returncode == 0, again.stdout
    assert "the recovery would work on 1 of 1 host" in again.stdout
    assert left not in scratch_nodes(well)
    assert seen(well) == before["well"]
