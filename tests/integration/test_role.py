# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks beamops.epmd.recover and beamops.epmd.audit, and the role ensure_registered, as a user runs them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import (
    CHECKOUT,
    COOKIE,
    NEWEST,
    NO_PSUTIL,
    NO_SOCK_DIAG,
    life,
    lose,
    python_with,
    run_ansible,
)
from ansible_collections.beamops.epmd.tests.lab import Epmd, FakeServer, Node, Otp, forget, hang, holders, listeners

LOCAL = 'ansible_connection=local ansible_python_interpreter="{{ ansible_playbook_python }}"'
LOCALHOST = f"localhost {LOCAL}\n"
TABLE = re.compile(r"^host +node +verdict +what was (?:found|done)\n(.*?)\n\n(.*)$", re.MULTILINE | re.DOTALL)
RECAP = re.compile(r"^(\S+) +: (ok=.*)$", re.MULTILINE)
# With -vvv, Ansible prints this for each module that it runs on a host.
TRIP = re.compile(r"^<\S+> .*python\S* \S*AnsiballZ_(\w+)\.py", re.MULTILINE)


def hosts(**variables: dict[str, Any]) -> str:
    """An inventory with a host for each name, with these variables. All are this machine."""
    lines = [[name, LOCAL, *(f"{key}={value!r}" for key, value in own.items())] for name, own in variables.items()]
    return "".join(f"{' '.join(line)}\n" for line in lines)


class Row(NamedTuple):
    """A row of the table."""

    host: str
    node: str
    verdict: str
    done: str


class Played(NamedTuple):
    """What a playbook printed, and its exit code."""

    rows: list[Row]
    sentence: str
    recap: dict[str, dict[str, int]]
    output: str
    code: int

    @property
    def row(self) -> Row:
        """The only row."""
        (row,) = self.rows
        return row

    @property
    def trips(self) -> list[str]:
        """The modules that were run on the host, in their order. Needs -vvv."""
        return TRIP.findall(self.output)


Left = Callable[..., "tuple[dict[str, Any], dict[str, Any] | None]"]


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
        file = self._directory / "hosts.ini"
        file.write_text(inventory)
        command = ["ansible-playbook", "-i", str(file), playbook, *flags, "-e", json.dumps(extra)]
        run = run_ansible(command, self._directory, environment)
        output = run.stdout + run.stderr
        recap = {
            host: {key: int(value) for key, value in (pair.split("=") for pair in counts.split())}
            for host, counts in RECAP.findall(run.stdout)
        }
        table = TABLE.search(run.stdout)
        rows = [Row(*re.split(r" {2,}", line, maxsplit=3)) for line in table[1].splitlines()] if table else []
        sentence = table[2].partition("\n")[0] if table else ""
        return Played(rows, sentence, recap, output, run.returncode)


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """The playbooks, through `ansible-playbook`."""
    return Play(tmp_path)


@pytest.mark.one_release
def test_audit_recover_and_audit_again(otp: Otp, epmd: Epmd, node: Node, play: Play) -> None:
    before = life(node)
    healthy = play("beamops.epmd.audit")
    assert healthy.code == 0, healthy.output
    assert healthy.row[:3] == ("localhost", node.name, "registered")
    lose(epmd, node)
    verdict = "missing" if otp.release == 23 else "epmd_down"

    both = hosts(localhost={}, tolerant={"audit_fail": False})
    lost = play("beamops.epmd.audit", "-vvv", inventory=both)
    assert lost.code != 0
    assert lost.trips == ["epmd_facts", "epmd_facts"]
    assert {row[:3] for row in lost.rows} == {(host, node.name, verdict) for host in ("localhost", "tolerant")}
    assert lost.sentence == "2 of 2 nodes are lost, on 2 of 2 hosts"
    tolerant = play("beamops.epmd.audit", inventory=hosts(tolerant={"audit_fail": False}))
    assert (tolerant.code, tolerant.sentence) == (0, "1 of 1 node is lost, on 1 of 1 host"), tolerant.output
    assert {counts["changed"] for counts in lost.recap.values()} == {0}

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
    assert done.row.done.endswith("registered")
    assert done.trips == ["epmd_register"]
    assert epmd.names() == {"vic": node.port}
    assert holders(epmd.port) == {node.pid}

    again = play("beamops.epmd.recover", "-vvv")
    assert (again.code, again.recap["localhost"]["changed"]) == (0, 0), again.output
    assert again.trips == ["epmd_register"]
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
    assert done.sentence == "1 node was registered again, on 1 of 3 hosts; 1 host could not be reached, 1 has no Python"
    limited = play("beamops.epmd.recover", "--limit", "localhost", inventory=inventory)
    assert (limited.code, limited.row.host) == (0, "localhost"), limited.output


@NEWEST
def test_an_epmd_that_hangs_has_a_row_in_both(epmd: Epmd, node: Node, play: Play) -> None:
    forget(epmd, node)
    with FakeServer(hang, port=epmd.port):
        audit = play("beamops.epmd.audit", audit_timeout=2)
        recover = play("beamops.epmd.recover", ensure_registered_timeout=2)
    for done in (audit, recover):
        assert done.code != 0
        assert done.row[:3] == ("localhost", node.name, "epmd_unresponsive")


def test_audit_has_variables_of_its_own(play: Play) -> None:
    done = play(
        "beamops.epmd.audit",
        inventory=hosts(
            late={"audit_timeout": 3601},
            far={"audit_epmd_port": 70000},
            well={"ensure_registered_timeout": 3601, "ensure_registered_epmd_port": 70000},
        ),
    )
    rows = {row.host: row for row in done.rows}
    assert {host: row.verdict for host, row in rows.items()} == {"late": "failed", "far": "failed", "well": "no node"}
    assert "timeout 3601" in rows["late"].done
    assert "epmd_port 70000" in rows["far"].done


@pytest.mark.parametrize("name", ["audit", "recover"])
def test_root_is_needed_unless_the_user_says_otherwise(play: Play, name: str) -> None:
    """There is no such way to become another user: whoever tries fails."""
    become = {"ansible_become_method": "absent", "ansible_become_user": "nobody"}
    done = play(f"beamops.epmd.{name}", inventory=hosts(root=become, user={**become, f"{name}_become": False}))
    assert done.code != 0
    assert {row.host: row.verdict for row in done.rows} == {"root": "failed", "user": "no node"}


def test_a_host_without_erlang_has_a_row(play: Play) -> None:
    for playbook in ("beamops.epmd.audit", "beamops.epmd.recover"):
        done = play(playbook)
        assert done.code == 0, done.output
        assert done.row[:3] == ("localhost", "-", "no node")
        assert done.recap["localhost"]["changed"] == 0


def test_an_option_of_the_wrong_type_fails_at_the_argument_spec(play: Play) -> None:
    wrong = {"port": "many", "epmd_port": [1], "start_epmd": "perhaps", "timeout": "soon", "install_psutil": 7}
    extra: dict[str, Any] = {f"ensure_registered_{option}": value for option, value in wrong.items()}
    done = play("beamops.epmd.recover", **extra)
    assert done.code != 0
    assert "Validation of arguments failed" in done.output
    for option in extra:
        assert f"'{option}'" in done.output


def test_an_option_of_one_host_with_the_wrong_type_fails_there(play: Play) -> None:
    done = play("beamops.epmd.recover", inventory=hosts(well={}, late={"ensure_registered_timeout": "soon"}))
    assert done.code != 0
    rows = {row.host: row for row in done.rows}
    assert {host: row.verdict for host, row in rows.items()} == {"well": "no node", "late": "failed"}
    assert "timeout" in rows["late"].done


@NEWEST
def test_a_node_that_does_not_run_has_a_row(node: Node, play: Play) -> None:
    done = play("beamops.epmd.recover", ensure_registered_name=["vic", "ghost"])
    assert done.code != 0
    assert [(row.node, row.verdict) for row in done.rows] == [(node.name, "registered"), ("-", "failed")]
    assert "ghost: no such node runs here" in done.rows[1].done


@NEWEST
def test_the_cookie_shows_nowhere(epmd: Epmd, node: Node, play: Play, tmp_path: Path) -> None:
    """`run_ansible` looks for it in everything that is printed."""
    lose(epmd, node)
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"ensure_registered_cookie": COOKIE}))
    wrong = play("beamops.epmd.recover", "-vvvv", "-e", f"@{secrets}", ensure_registered_port="many")
    assert wrong.code != 0
    done = play("beamops.epmd.recover", "-vvvv", "-e", f"@{secrets}")
    assert (done.code, done.recap["localhost"]["changed"]) == (0, 1), done.output


FACTS = """
- name: Run the role, and keep what it leaves
  hosts: all
  gather_facts: false
  tasks:
    - name: Run the role
      block:
        - name: Include it
          ansible.builtin.include_role: {name: beamops.epmd.ensure_registered}
      always:
        - name: Keep what it leaves
          ansible.builtin.copy:
            content: >-
              {{ {'result': ensure_registered_result, 'facts': ansible_facts.epmd | default(none)} | to_json }}
            dest: "{{ kept }}"
            mode: "0600"
          check_mode: false
"""


@pytest.fixture
def left(play: Play, tmp_path: Path) -> Left:
    """Run the role, and give `ensure_registered_result` and `ansible_facts.epmd` as it leaves them."""

    def run(*flags: str, **extra: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
        playbook, kept = tmp_path / "role.yml", tmp_path / "kept.json"
        playbook.write_text(FACTS)
        done = play(str(playbook), *flags, kept=str(kept), **extra)
        found = json.loads(kept.read_text())
        assert found["result"]["failed"] == (done.code != 0), done.output
        assert f"localhost: {found['result']['msg']}"[:60] in done.output
        return found["result"], found["facts"]

    return run


@NEWEST
def test_the_role_leaves_its_result_and_the_facts(epmd: Epmd, node: Node, left: Left) -> None:
    lose(epmd, node)
    predicted, facts = left("--check")
    assert (predicted["changed"], predicted["nodes"][0]["registered"]) == (True, False)
    assert facts == {"nodes": predicted["nodes"], "daemons": predicted["daemons"]}
    result, facts = left()
    assert result["changed"]
    assert facts == {"nodes": result["nodes"], "daemons": result["daemons"]}
    assert [(found["name"], found["registered"]) for found in facts["nodes"]] == [(node.name, True)]
    assert [(found["port"], found["names"]) for found in facts["daemons"]] == [(epmd.port, {"vic": node.port})]


@NEWEST
def test_a_failure_leaves_what_was_seen(node: Node, left: Left) -> None:
    result, facts = left(ensure_registered_name=["vic", "ghost"])
    assert (result["reason"], result["missing"]) == ("not_running", ["ghost"])
    assert facts == {"nodes": result["nodes"], "daemons": result["daemons"]}
    assert [found["name"] for found in facts["nodes"]] == [node.name]


def test_a_failure_before_the_look_leaves_no_facts(left: Left) -> None:
    result, facts = left(ensure_registered_timeout=3601)
    assert (result["reason"], facts) == ("invalid_option", None)


def test_a_host_without_nodes_has_empty_facts(left: Left) -> None:
    result, facts = left()
    assert (result["msg"], facts) == ("no Erlang node runs here", {"nodes": [], "daemons": []})


# It takes the place of the package manager, for the test machine has to stay as it is.
APT = """
import pathlib
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({{"name": {{"type": "str"}}, "state": {{"type": "str"}}}}, supports_check_mode=True)
if {fails}:
    module.fail_json(msg="no package " + module.params["name"])
if not module.check_mode:
    pathlib.Path({installed!r}).touch()
module.exit_json(changed=True)
"""


@NEWEST
class TestWithoutPsutil:
    """A target whose kernel does not list its sockets, and whose Python has no psutil."""

    @pytest.fixture
    def without(self, tmp_path: Path) -> dict[str, str]:
        return python_with(tmp_path, NO_SOCK_DIAG, NO_PSUTIL)

    def apt(self, directory: Path, fails: bool = False, is_seen: bool = True) -> dict[str, str]:
        """The same, until a package manager of our own has installed it. is_seen: whether this Python finds it then."""
        library, installed = directory / "library", directory / "installed"
        library.mkdir()
        (library / "apt.py").write_text(APT.format(fails=fails, installed=str(installed)))
        until = f"import os\nif not ({is_seen} and os.path.exists({str(installed)!r})):\n    {NO_PSUTIL}"
        return {**python_with(directory, NO_SOCK_DIAG, until), "ANSIBLE_LIBRARY": str(library)}

    def test_it_is_installed_where_it_is_needed(self, epmd: Epmd, node: Node, play: Play, tmp_path: Path) -> None:
        lose(epmd, node)
        environment = self.apt(tmp_path)
        predicted = play("beamops.epmd.recover", "--check", environment=environment)
        assert (predicted.code, predicted.row.verdict) == (0, "unknown"), predicted.output
        assert "psutil is missing here and would be installed" in predicted.row.done
        done = play("beamops.epmd.recover", "-vvv", environment=environment)
        assert (done.code, done.recap["localhost"]["failed"]) == (0, 0), done.output
        assert done.trips == ["epmd_register", "setup", "apt", "epmd_register"]
        assert done.row[:2] == ("localhost", node.name)
        assert epmd.names() == {"vic": node.port}
        again = play("beamops.epmd.recover", "-vvv", environment=environment)
        assert (again.trips, again.row.verdict) == (["epmd_register"], "registered")

    def test_a_package_that_can_not_be_installed_is_a_failure(self, left: Left, tmp_path: Path) -> None:
        result, facts = left(environment=self.apt(tmp_path, fails=True), ensure_registered_psutil_package="other")
        assert (result["reason"], facts) == ("psutil_missing", None)
        assert "the package other can't be installed: no package other." in result["msg"]

    def test_a_python_that_does_not_see_the_package_is_a_failure(self, left: Left, tmp_path: Path) -> None:
        result, facts = left(environment=self.apt(tmp_path, is_seen=False))
        assert (result["reason"], facts) == ("psutil_missing", None)
        assert "psutil is installed for the distribution's Python" in result["msg"]
        assert "-m pip install psutil" in result["msg"]

    def test_a_node_that_is_given_by_its_port_needs_none(
        self, epmd: Epmd, node: Node, play: Play, without: dict[str, str], tmp_path: Path
    ) -> None:
        """It is found and looked at; whose it is can't be seen, so that its epmd is not started."""
        cookie = tmp_path / "cookie"
        cookie.write_text(COOKIE)
        options: dict[str, Any] = {
            "environment": without,
            "ensure_registered_install_psutil": False,
            "ensure_registered_name": ["vic"],
            "ensure_registered_port": node.port,
            "ensure_registered_epmd_port": epmd.port,
            "ensure_registered_cookie_file": str(cookie),
        }
        nothing = play("beamops.epmd.recover", environment=without, ensure_registered_install_psutil=False)
        assert (nothing.code != 0, nothing.row.verdict) == (True, "failed")
        assert "psutil is missing" in nothing.row.done
        healthy = play("beamops.epmd.recover", **options)
        assert (healthy.code, healthy.row.verdict) == (0, "registered"), healthy.output
        forget(epmd, node)
        lost = play("beamops.epmd.recover", **options)
        assert (lost.code != 0, lost.row.verdict) == (True, "epmd_down")
        assert lost.row.done.startswith("epmd is down, and ")
        assert lost.row.done.endswith(("start it", "start epmd as the node's user"))


@NEWEST
def test_psutil_is_not_needed_where_the_kernel_lists_its_sockets(
    epmd: Epmd, node: Node, play: Play, tmp_path: Path
) -> None:
    lose(epmd, node)
    done = play("beamops.epmd.recover", "-vvv", environment=python_with(tmp_path, NO_PSUTIL))
    assert (done.code, done.trips) == (0, ["epmd_register"]), done.output
    assert epmd.names() == {"vic": node.port}


def documented(kind: str, name: str) -> Any:
    """The documentation that ansible-doc finds."""
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
