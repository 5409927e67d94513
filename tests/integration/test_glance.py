# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a terminal and a report show of a fleet with hosts in trouble, with the oldest and the newest ansible-core.

For the actions and the callback: action/look.py and action/show.py with their documentation in modules/look.py,
modules/show.py and doc_fragments/_look.py, plugin_utils/_failure.py, callback/fleet.py.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import run_ansible
from ansible_collections.beamops.epmd.tests.integration.test_targets import CORES, find_controller
from ansible_collections.beamops.epmd.tests.lab import Fleet, Otp, Plan

PLANS = [Plan("lost", nodes=("left", "right")), Plan("well"), Plan("bare", nodes=())]
TROUBLE = {
    "far": {"ansible_host": "198.18.9.9"},
    "bare": {"ansible_python_interpreter": "/nonexistent/python3"},
}
SENTENCE = "2 of 3 nodes are lost, on 1 of 4 hosts; 1 host could not be reached, 1 has no Python"
OLDEST, NEWEST = CORES[0], CORES[-1]
BOTH = pytest.mark.parametrize("core", [OLDEST, NEWEST])
# What Ansible itself prints of a play, of which only the lines of hosts are of interest here.
FRAME = re.compile(r"^(PLAY|TASK|PLAY RECAP) .*\*$|^(\S+ +: ok=.*)?$")


class Ran(NamedTuple):
    """A playbook that was run."""

    lines: list[str]
    """What it printed, without the frame."""
    table: list[list[str]]
    code: int


class Terminal:
    """`ansible-playbook` over the hosts, with a controller of one ansible-core."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet = fleet
        self._directory = directory
        inventory = json.loads(fleet.inventory().read_text())
        known = inventory["all"]["hosts"]
        for host, variables in TROUBLE.items():
            known[host] = {**known.get(host, {}), **variables}
        self.inventory = fleet.directory / "trouble.json"
        self.inventory.write_text(json.dumps(inventory))

    def __call__(self, core: str, playbook: str, *flags: str, **environment: str) -> Ran:
        command = ["ansible-playbook", "-i", str(self.inventory), f"beamops.epmd.{playbook}", *flags]
        done = run_ansible(command, self._directory, {**find_controller(core), **environment})
        assert done.stderr == ""
        assert "\x1b" not in done.stdout
        lines = [line for line in done.stdout.splitlines() if not FRAME.match(line)]
        starts = [place for place, line in enumerate(lines) if line.startswith("host  ")]
        table = [re.split(r" {2,}", line, maxsplit=3) for line in lines[starts[0] :][: 1 + 5]] if starts else []
        return Ran(lines, table, done.returncode)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """Hosts of which one is lost, one can't be reached, one has no Python and one is well."""
    with tempfile.TemporaryDirectory() as short, Fleet(PLANS, Otp.of(23), Path(short)) as fleet:
        yield Terminal(fleet, tmp_path_factory.mktemp("terminal"))


@pytest.fixture
def lost(terminal: Terminal) -> Terminal:
    """The names on the first host are lost."""
    terminal.fleet.lose(1)
    return terminal


TABLE = [
    ["host", "node", "verdict", "what was found"],
    ["lost", "left@lost", "missing", "epmd has no name left"],
    ["lost", "right@lost", "missing", "epmd has no name right"],
    ["well", "vic@well", "registered", "epmd has the name vic with port N"],
    ["bare", "-", "no python", "/bin/sh: 1: /nonexistent/python3: not found"],
    ["far", "-", "unreachable", "Network is unreachable"],
]


def expect_table(found: list[list[str]]) -> None:
    """The table of these hosts, whatever the ports are, and however ssh says that a host can't be reached."""
    plain = [
        [re.sub(r"\b\d+$", "N", re.sub(r".*: (Network is unreachable)$", r"\1", cell)) for cell in row] for row in found
    ]
    # The nodes of a host are in the order of their pids.
    assert [plain[0], *sorted(plain[1:3]), *plain[3:]] == TABLE


@BOTH
@pytest.mark.parametrize("flags", [[], ["-v"]], ids=["plain", "verbose"])
def test_one_line_for_each_host_that_needs_somebody(lost: Terminal, core: str, flags: list[str]) -> None:
    ran = lost(core, "audit", *flags)
    assert ran.code == 2
    # What Ansible adds for each host, with -v, too: that its task has run.
    states = [line for line in ran.lines if re.fullmatch(r"(ok|skipping): \[\w+\]", line)]
    assert sorted(states) == ["ok: [lost]", "ok: [well]", "skipping: [bare]", "skipping: [far]"]
    ran = ran._replace(lines=[line for line in ran.lines if line not in states])
    expect_table(ran.table)
    start = next(place for place, line in enumerate(ran.lines) if line.startswith("host  "))
    assert len(ran.lines[start:]) == len(TABLE) + 2
    sentence, failure = ran.lines[-2:]
    assert sentence == SENTENCE
    assert failure == f'fatal: [lost]: FAILED! => {{"changed": false, "msg": "{SENTENCE}", "shown": true}}'
    told = {line.partition(":")[0]: line for line in ran.lines[:start] if not line.startswith(("Using ", "running "))}
    assert set(told) == {"lost", "bare", "far"}
    left, right = (f"{side}@lost: missing: epmd has no name {side}" for side in ("left", "right"))
    assert told["lost"] in (f"lost: {left}; {right}", f"lost: {right}; {left}")
    assert told["bare"] == "bare: has no Python: /bin/sh: 1: /nonexistent/python3: not found"
    assert re.fullmatch(r"far: could not be reached: .*Network is unreachable", told["far"])


@BOTH
def test_the_callback_says_nothing_of_hosts_that_are_well(lost: Terminal, core: str, tmp_path: Path) -> None:
    quiet = {"ANSIBLE_STDOUT_CALLBACK": "beamops.epmd.fleet"}
    ran = lost(core, "audit", "-e", f"audit_report={tmp_path}/new", **quiet)
    assert ran.code == 2
    progress = [line for line in ran.lines if re.fullmatch(r"\d of 4 hosts asked, \d needs? somebody", line)]
    lines = [line for line in ran.lines if line not in progress]
    assert sorted(line.partition(":")[0] for line in lines[:3]) == ["bare", "far", "lost"]
    assert lines[-2:] == [SENTENCE, f"The page: {tmp_path}/new/audit.html"]
    assert len(lines) == 3 + len(TABLE) + 2
    report = json.loads((tmp_path / "new/audit.json").read_text())
    assert (report["sentence"], report["limit"]) == (SENTENCE, "lost")
    assert report["repair"] == f"ansible-playbook -i {lost.inventory} beamops.epmd.recover --limit lost"
    page = (tmp_path / "new/audit.html").read_text()
    assert f"<title>{SENTENCE}</title>" in page
    assert 'epmd_node_registered{host="lost",node="left@lost"' in (tmp_path / "new/audit.prom").read_text()

    # What the page says to type, on exactly these hosts.
    repair = ["--limit", report["limit"]]
    predicted = lost(core, "recover", *repair, "--check", **quiet)
    assert (predicted.code, predicted.lines[-1]) == (0, "2 nodes would be registered again, on 1 of 1 host")
    done = lost(core, "recover", *repair, "-e", f"recover_report={tmp_path}", **quiet)
    assert (done.code, done.lines[-2]) == (0, "2 nodes were registered again, on 1 of 1 host")
    assert "missing, now registered" in (tmp_path / "recover.html").read_text()
    again = lost(core, "recover", *repair, **quiet)
    assert (again.code, again.lines[-1]) == (0, "no node was lost: 2 nodes on 1 host")
    assert sorted(lost.fleet.hosts[0].names()) == ["left", "right"]


def test_a_directory_that_can_not_be_written_fails_before_the_work(lost: Terminal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    extra = ["-e", json.dumps({"recover_report": f"{tmp_path}/file/reports"})]
    ran = lost(NEWEST, "recover", *extra, ANSIBLE_STDOUT_CALLBACK="beamops.epmd.fleet")
    assert ran.code == 2
    (failure,) = ran.lines
    sentence = f"recover_report: nothing can be written to {tmp_path}/file/reports ("
    assert failure.startswith(f'fatal: [lost]: FAILED! => {{"changed": false, "msg": "{sentence}')
    assert lost.fleet.hosts[0].names() == {}


def test_the_result_holds_no_templates(terminal: Terminal, tmp_path: Path) -> None:
    """What a host says is data: a name like a template is shown as it is."""
    play = tmp_path / "play.yml"
    shown: dict[str, Any] = {"results": "given", "playbook": "rehearse"}
    rows = [{"name": "{{ 7 * 7 }}", "verdict": "would not work", "msg": "line\nbreak \u202e"}]
    play.write_text(
        json.dumps(
            [
                {
                    "hosts": "well",
                    "gather_facts": False,
                    "vars": {"given": {"rows": [{**rows[0], "name": "{% raw %}{{ 7 * 7 }}{% endraw %}"}]}},
                    "tasks": [
                        {"ansible.builtin.set_fact": {"given": "{{ given }}"}},
                        {"beamops.epmd.show": shown, "run_once": True},
                    ],
                }
            ]
        )
    )
    command = ["ansible-playbook", "-i", str(terminal.inventory), str(play)]
    done = run_ansible(command, tmp_path, find_controller(NEWEST))
    assert done.returncode == 2
    assert re.search(r"^well  \{\{ 7 \* 7 \}\}  would not work  line break \?$", done.stdout, re.MULTILINE), done.stdout
    assert "the recovery would work on 0 of 1 host, and would not on 1" in done.stdout
