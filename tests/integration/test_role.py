# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks beamops.epmd.recover and beamops.epmd.audit, and the role below them, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT, COOKIE, NEWEST, life, lose, run_ansible
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp, holders, listeners

LOCALHOST = 'localhost ansible_connection=local ansible_python_interpreter="{{ ansible_playbook_python }}"\n'
TABLE = re.compile(r'"msg": (\[\s+"host +node +verdict +what was done".*?^    \])', re.MULTILINE | re.DOTALL)
RECAP = re.compile(r"^(\S+) +: (ok=.*)$", re.MULTILINE)


class Row(NamedTuple):
    """A line of the table."""

    host: str
    node: str
    verdict: str
    done: str


class Played(NamedTuple):
    """What a playbook gave."""

    rows: list[Row]
    recap: dict[str, dict[str, int]]
    output: str
    code: int

    @property
    def row(self) -> Row:
        """The only row."""
        (row,) = self.rows
        return row


class Play:
    """`ansible-playbook beamops.epmd...`, with extra variables as keywords."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(
        self,
        playbook: str,
        *flags: str,
        inventory: str = LOCALHOST,
        environment: dict[str, str] | None = None,
        **extra: Any,
    ) -> Played:
        hosts = self._directory / "hosts.ini"
        hosts.write_text(inventory)
        command = ["ansible-playbook", "-i", str(hosts), playbook, *flags, "-e", json.dumps(extra)]
        run = run_ansible(command, self._directory, environment)
        output = run.stdout + run.stderr
        recap = {
            host: {key: int(value) for key, value in (pair.split("=") for pair in counts.split())}
            for host, counts in RECAP.findall(run.stdout)
        }
        tables = TABLE.findall(run.stdout)
        assert len(tables) <= 1, output
        lines = json.loads(tables[0])[1:] if tables else []
        return Played([Row(*re.split(r" {2,}", line, maxsplit=3)) for line in lines], recap, output, run.returncode)


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """The playbooks, through `ansible-playbook`."""
    return Play(tmp_path)


def test_audit_recover_and_audit_again(otp: Otp, epmd: Epmd, node: Node, play: Play) -> None:
    before = life(node)
    healthy = play("beamops.epmd.audit")
    assert healthy.code == 0, healthy.output
    assert healthy.row[:3] == ("localhost", node.name, "registered")
    lose(epmd, node)
    verdict = "missing" if otp.release == 23 else "epmd_down"

    lost = play("beamops.epmd.audit")
    assert lost.code != 0
    assert lost.row[:3] == ("localhost", node.name, verdict)
    assert lost.recap["localhost"]["changed"] == 0
    tolerated = play("beamops.epmd.audit", audit_fail=False)
    assert tolerated.code == 0, tolerated.output
    assert tolerated.rows == lost.rows

    predicted = play("beamops.epmd.recover", "--check", "--diff")
    assert predicted.code == 0, predicted.output
    assert predicted.row[:3] == ("localhost", node.name, verdict)
    assert predicted.recap["localhost"]["changed"] == 1
    assert f"+name vic at port {node.port}" in predicted.output
    assert listeners(epmd.port) == ({epmd.pid} if otp.release == 23 else set())
    assert node.pid not in holders(epmd.port)

    done = play("beamops.epmd.recover", "-vvv")
    assert done.code == 0, done.output
    assert done.row[:3] == ("localhost", node.name, verdict)
    assert done.recap["localhost"]["changed"] == 1
    assert f"localhost: registered: {node.name}" in done.output
    assert epmd.names() == {"vic": node.port}
    assert holders(epmd.port) == {node.pid}

    again = play("beamops.epmd.recover")
    assert (again.code, again.recap["localhost"]["changed"]) == (0, 0), again.output
    assert again.row[:3] == ("localhost", node.name, "registered")
    assert play("beamops.epmd.audit").code == 0
    assert life(node) == before


@NEWEST
def test_hosts_that_fail_have_a_row_and_the_others_go_on(epmd: Epmd, node: Node, play: Play) -> None:
    lose(epmd, node)
    inventory = (
        "far ansible_host=127.0.0.1 ansible_port=1 ansible_connection=ssh\n"
        "bare ansible_connection=local ansible_python_interpreter=/nonexistent/python3\n"
        f"{LOCALHOST}"
    )
    for playbook in ("beamops.epmd.audit", "beamops.epmd.recover"):
        done = play(playbook, inventory=inventory)
        assert done.code != 0
        rows = {row.host: row for row in done.rows}
        assert len(rows) == len(done.rows) == 3, done.output
        assert rows["far"].verdict == "unreachable"
        assert "Connection refused" in rows["far"].done
        assert rows["bare"].verdict == "no python"
        assert "/nonexistent/python3" in rows["bare"].done
        assert rows["localhost"].node == node.name
    assert epmd.names() == {"vic": node.port}
    assert done.recap["localhost"]["changed"] == 1
    assert done.recap["localhost"]["failed"] == 0
    assert done.recap["far"]["failed"] == done.recap["bare"]["failed"] == 1
    limited = play("beamops.epmd.recover", inventory=inventory, target="localhost")
    assert (limited.code, limited.row.host) == (0, "localhost"), limited.output
    assert play("beamops.epmd.recover", "--limit", "localhost", inventory=inventory).row.host == "localhost"


def test_a_host_without_erlang_has_a_row(play: Play) -> None:
    for playbook in ("beamops.epmd.audit", "beamops.epmd.recover"):
        done = play(playbook)
        assert done.code == 0, done.output
        assert done.row[:3] == ("localhost", "-", "no node")
        assert done.recap["localhost"]["changed"] == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [("port", "many"), ("epmd_port", [1]), ("start_epmd", "perhaps"), ("timeout", "soon"), ("install_psutil", 7)],
)
def test_an_option_of_the_wrong_type_fails_at_the_argument_spec(play: Play, option: str, value: Any) -> None:
    done = play("beamops.epmd.recover", **{f"ensure_registered_{option}": value})
    assert done.code != 0
    assert done.row.verdict == "failed"
    assert f"ensure_registered_{option}" in done.row.done
    assert "Validation of arguments failed" in done.output


@NEWEST
def test_a_node_that_does_not_run_has_a_row(node: Node, play: Play) -> None:
    done = play("beamops.epmd.recover", ensure_registered_name=["vic", "ghost"])
    assert done.code != 0
    assert [(row.node, row.verdict) for row in done.rows] == [(node.name, "registered"), ("-", "failed")]
    assert "ghost: no such node runs here" in done.rows[1].done


@NEWEST
def test_the_cookie_shows_nowhere(epmd: Epmd, node: Node, play: Play, tmp_path: Path) -> None:
    """Play() itself looks for it in all that is printed."""
    lose(epmd, node)
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"ensure_registered_cookie": COOKIE}))
    wrong = play("beamops.epmd.recover", "-vvvv", "-e", f"@{secrets}", ensure_registered_port="many")
    assert wrong.code != 0
    done = play("beamops.epmd.recover", "-vvvv", "-e", f"@{secrets}")
    assert (done.code, done.recap["localhost"]["changed"]) == (0, 1), done.output


@NEWEST
class TestWithoutPsutil:
    """A target whose Python has none."""

    @pytest.fixture
    def without(self, tmp_path: Path) -> dict[str, str]:
        folder = tmp_path / "shadow"
        folder.mkdir()
        (folder / "psutil.py").write_text("raise ImportError('psutil is not installed')\n")
        return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}

    def test_check_mode_says_that_it_can_not_look(self, node: Node, play: Play, without: dict[str, str]) -> None:
        done = play("beamops.epmd.recover", "--check", environment=without)
        assert done.code == 0, done.output
        assert done.row.verdict == "unknown"
        assert "psutil is missing" in done.row.done
        assert node.pid

    def test_what_says_where_the_node_is_needs_none(
        self, epmd: Epmd, node: Node, play: Play, without: dict[str, str], tmp_path: Path
    ) -> None:
        lose(epmd, node)
        cookie = tmp_path / "cookie"
        cookie.write_text(COOKIE)
        nothing = play("beamops.epmd.recover", environment=without, ensure_registered_install_psutil=False)
        assert (nothing.code != 0, nothing.row.verdict) == (True, "failed")
        assert "psutil is missing" in nothing.row.done
        done = play(
            "beamops.epmd.recover",
            environment=without,
            ensure_registered_install_psutil=False,
            ensure_registered_name=["vic"],
            ensure_registered_port=node.port,
            ensure_registered_epmd_port=epmd.port,
            ensure_registered_cookie_file=str(cookie),
        )
        assert (done.code, done.recap["localhost"]["changed"]) == (0, 1), done.output
        assert epmd.names() == {"vic": node.port}


def documented(kind: str, name: str) -> Any:
    """What ansible-doc knows."""
    command = ["ansible-doc", "-t", kind, "--json", f"beamops.epmd.{name}"]
    shown = subprocess.run(command, check=True, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    (found,) = json.loads(shown.stdout).values()
    return found


def test_the_role_has_every_option_of_the_module() -> None:
    options = documented("role", "ensure_registered")["entry_points"]["main"]["options"]
    of_the_module = documented("module", "epmd_register")["doc"]["options"]
    assert {name.removeprefix("ensure_registered_") for name in options} == {
        *of_the_module,
        "install_psutil",
        "psutil_package",
    }
    for name, option in of_the_module.items():
        same = options[f"ensure_registered_{name}"]
        assert (same["type"], same.get("default")) == (option["type"], option.get("default")), name
    assert all(option["description"] for option in options.values())
