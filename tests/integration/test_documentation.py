# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command of the documentation runs as it is printed, and its output is the one that the page shows.

The commands of a page run in their order, on a host in the state that the page is about; without a scene of its own, on
a host whose node `ejabberd` is lost. The lines below a command have to be in its real output, in this order; numbers
may differ, and `...` stands for other text. A command may fail only where such lines, or its exit code, are shown.

The controller is this checkout, and in `make test-all` also an execution environment that has nothing but Debian's
ansible-core and the artifact.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import ansible
import pytest
import yaml

from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT, RELEASES
from ansible_collections.beamops.epmd.tests.lab import (
    Container,
    Ejabberd,
    Environment,
    Epmd,
    Node,
    Otp,
    RabbitMq,
    Release,
    Systemd,
    completed,
    cut_silently,
    forget,
    listeners,
    system,
    wait_until,
)

RELEASE = 25
PORT = 42815
ON_PORT = ["-kernel", "inet_dist_listen_min", str(PORT), "inet_dist_listen_max", str(PORT)]
HOST = socket.gethostname().partition(".")[0]

PAGES = {
    path.relative_to(CHECKOUT).as_posix(): path
    for path in [
        CHECKOUT / "README.md",
        # test_scratch_node.py runs the scenario of that role, and the guide of epmd_service has what its README has.
        CHECKOUT / "roles/ensure_registered/README.md",
        CHECKOUT / "docs/sphinx/index.rst",
        *sorted((CHECKOUT / "docs/docsite/rst").glob("*.rst")),
    ]
}

# Commands that can't run as they are printed: pattern, reason, and the command that runs instead.
ELSEWHERE = (
    (r"make ([a-z-]+)\b.*", "it would run this test, or take minutes", "make --dry-run {0}"),
    (r"tests/toolchain/integration 25 -- (\S+) -q", "it makes what this test runs in", f"ls {CHECKOUT}/{{0}}"),
    (
        r"ansible-galaxy collection install beamops.epmd",
        "tests don't download from Galaxy",
        f"ansible-galaxy collection build --output-path . {shlex.quote(str(CHECKOUT))}"
        " && ansible-galaxy collection install ./beamops-epmd-*.tar.gz --collections-path .",
    ),
    (
        r"ansible-galaxy collection install beamops.epmd --collections-path collections",
        "tests don't download from Galaxy, and the repository of this page has been made",
        "",
    ),
    (r"tests/elsewhere/run.*", "test_elsewhere.py runs it", f"ls {CHECKOUT}/tests/elsewhere/run"),
    (r"ansible-rulebook .*", "it runs until it is ended; test_rulebook.py runs it", ""),
    (r"python3 -m venv /opt/ansible .*", "it writes to /opt, and downloads from a package index", ""),
)

# https://www.sphinx-doc.org/en/master/usage/restructuredtext/directives.html#directive-code-block
_RST = re.compile(r"^( *)\.\. code-block:: (\S+)\n((?:\1 +\S.*\n|\s*\n)+)", re.MULTILINE)
_MARKDOWN = re.compile(r"^( *)```(\S*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_HIDDEN = re.compile(
    r"^(?! *\.\. ).*::$|^ *\.\. (?:code|sourcecode|parsed-literal|literalinclude|prompt)::.*|^ *~~~.*", re.MULTILINE
)
_SHOWN_ALONE = {"ini", "text"}


class Command(NamedTuple):
    """A command as it is printed, and the lines below it. play: whether the text is a playbook instead."""

    text: str
    output: list[str]
    play: bool = False


def commands(name: str, text: str) -> list[Command]:
    """The commands of a page. Fails for a block of a kind that is not checked."""
    hidden = _HIDDEN.findall(text) if name.endswith(".rst") or "~~~" in text else []
    assert not hidden, f"{name}: give these blocks a language, with code-block or ```: {hidden}"
    found = []
    for _indent, language, body in (_RST if name.endswith(".rst") else _MARKDOWN).findall(text):
        block = textwrap.dedent(body).strip("\n")
        if language in ("console", "shell", "sh"):
            found += _commands_of(block, prompt="$ " if language == "console" else "")
        elif language == "yaml":
            if any("hosts" in play for play in yaml.safe_load(block) if isinstance(play, dict)):
                found.append(Command(block, [], play=True))
        else:
            assert language in _SHOWN_ALONE, f"{name}: a block of {language or 'no language'} is not checked"
    return found


def _commands_of(block: str, prompt: str) -> list[Command]:
    found: list[Command] = []
    for line in block.splitlines():
        if found and found[-1].text.endswith("\\"):
            found[-1] = found[-1]._replace(text=f"{found[-1].text}\n{line.removeprefix('> ')}")
        elif line.startswith(prompt):
            found.append(Command(line.removeprefix(prompt), []))
        else:
            assert found, f"no command before {line!r}"
            found[-1].output.append(line)
    return found


def plain(line: str) -> str:
    """A line without what differs between runs."""
    return " ".join(re.sub(r"\d+(?:\.\d+)*", "N", line).split())


@dataclass
class Host:
    """Where the commands of a page run: those of Ansible on the controller, all others by `run`."""

    run: Callable[[str], subprocess.CompletedProcess[str]]
    controller: Callable[[str], subprocess.CompletedProcess[str]]
    names: Mapping[str, str] = field(default_factory=dict)
    """Words of the documentation, and their values in this test: the host, a pid."""
    elsewhere: Sequence[tuple[str, str, str]] = ELSEWHERE
    """What can't run as it is printed."""
    noted: list[str] = field(default_factory=list)
    """The commands that were not run as they are printed, and why."""

    def obey(self, command: Command) -> None:
        """Run the command, and compare its output."""
        text = command.text
        for pattern, reason, instead in self.elsewhere:
            match = re.fullmatch(pattern, text)
            if match:
                text = instead.format(*match.groups())
                self.noted.append(f"{command.text}: {reason}; instead: {text or 'nothing'}")
        for printed, real in self.names.items():
            text = re.sub(rf"(?<!\w){printed}(?!\w)", real, text)
        if not text:
            return
        is_controllers = text.split()[0].startswith(("ansible", "make"))
        done = (self.controller if is_controllers else self.run)(text)
        print(f"$ {text}\n{done.stdout}")
        assert "Traceback" not in done.stdout
        rest = plain(re.sub(rf"\b{HOST}\b", "web1", done.stdout))
        for part in (part for line in command.output for part in plain(line).split("...")):
            _before, found, rest = rest.partition(part) if part else ("", "nothing", rest)
            assert found, f"{command.text!r} does not print {part!r} (at all, or in this order), but:\n{done.stdout}"
        may_fail = command.output or f"exit code {done.returncode}" in text
        assert done.returncode == 0 or may_fail, f"{text!r} ended with exit code {done.returncode}: {done.stdout}"


class Stage:
    """A controller, with an inventory in its directory, and the means to make its host."""

    elsewhere: Sequence[tuple[str, str, str]] = ELSEWHERE

    def __init__(self, otp: Otp, directory: Path) -> None:
        self.otp = otp
        self.directory = directory
        self.enlist(HOST, self.reach())

    def reach(self) -> dict[str, str]:
        """The variables by which it reaches this machine."""
        become = {"ansible_connection": "local", "ansible_become_method": "su"}
        return {**become, "ansible_python_interpreter": sys.executable}

    def enlist(self, host: str, variables: Mapping[str, str]) -> None:
        """Make this the only host of the inventory."""
        words = " ".join(f"{key}={shlex.quote(value)}" for key, value in variables.items())
        self.directory.joinpath("inventory").write_text(f"[erlang]\n{host} {words}\n")

    def settings(self, home: Path | None = None) -> dict[str, str]:
        """The environment of a command on this machine."""
        return {
            **os.environ,
            **self.otp.environment(),
            "PATH": f"{self.otp.root / 'bin'}:{self.otp.bindir}:{os.environ['PATH']}",
            "HOME": str(home or self.directory),
            # As in a checkout.
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def shell(self, text: str, cwd: Path | None = None, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run it on this machine; its standard output includes standard error."""
        return completed(["sh", "-c", text], cwd or self.directory, self.settings(home))

    def control(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the controller."""
        return self.shell(text, CHECKOUT if text.startswith("make") else None)

    def host(self, home: Path | None = None, names: Mapping[str, str] | None = None) -> Host:
        """This machine as the host."""
        run = functools.partial(self.shell, home=home)
        return Host(run, self.control, {"web1": HOST, **(names or {})}, self.elsewhere)

    def box(self, box: Container, names: Mapping[str, str] | None = None) -> Host:
        """A container as the host; its processes and its network are those of this machine."""
        return Host(lambda text: box.run(["sh", "-c", text]), self.control, names or {}, self.elsewhere)

    @contextlib.contextmanager
    def node(self, name: str | None = "ejabberd") -> Iterator[tuple[Epmd, Node]]:
        """A node with the name and the port of the documentation."""
        with self.otp.epmd(4369) as epmd, self.otp.node(name, epmd_port=4369, args=ON_PORT) as node:
            yield epmd, node


class Installed(Stage):
    """The same in an execution environment, without a checkout."""

    def __init__(self, otp: Otp, directory: Path, environment: Environment) -> None:
        self._environment = environment
        install = f"ansible-galaxy collection install {environment.artifact}"
        self.elsewhere = (
            (r"ansible-galaxy collection install beamops.epmd", "tests don't download from Galaxy", install),
            (r"(ansible .*)-m (epmd_.*)", "that name is for a checkout, as the page says", "{0}-m beamops.epmd.{1}"),
            (r"make\b.*", "there is no checkout", ""),
            *ELSEWHERE,
        )
        super().__init__(otp, directory)

    def reach(self) -> dict[str, str]:
        return {
            **self._environment.host_from(self.directory, self.settings()),
            "ansible_python_interpreter": sys.executable,
        }

    def control(self, text: str) -> subprocess.CompletedProcess[str]:
        settings = {"HOME": str(self.directory), "ANSIBLE_NOCOLOR": "1"}
        return self._environment.control(text, self.directory, settings)


Scene = Callable[[Stage], contextlib.AbstractContextManager[Host]]


@contextlib.contextmanager
def healthy(stage: Stage) -> Iterator[Host]:
    with stage.node() as (_epmd, node):
        yield stage.host(node.home)


@contextlib.contextmanager
def lost(stage: Stage) -> Iterator[Host]:
    """The epmd of a host has died."""
    with stage.node() as (epmd, node):
        forget(epmd, node)
        yield stage.host(node.home)


@contextlib.contextmanager
def cut(stage: Stage) -> Iterator[Host]:
    """The connection between node and epmd was silently cut."""
    with contextlib.ExitStack() as stack:
        epmd, node = stack.enter_context(stage.node())
        stack.enter_context(cut_silently(epmd, node))
        yield stage.host(node.home)


def squatted(port: int) -> Scene:
    """Another process holds the name of the node, with this port."""

    @contextlib.contextmanager
    def scene(stage: Stage) -> Iterator[Host]:
        holder = (
            "import signal; from ansible_collections.beamops.epmd.tests.lab import Squatter;"
            f" holder = Squatter(4369, 'ejabberd', {port}); print('up', flush=True); signal.pause()"
        )
        with stage.node() as (epmd, node):
            node.suspend()  # or it might be faster
            try:
                epmd.kill()
                epmd.start()
                process = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True)
                assert process.stdout
                assert process.stdout.readline() == "up\n"
            finally:
                node.resume()
            with process:
                try:
                    yield stage.host(node.home, {"4711": str(process.pid)})
                finally:
                    process.kill()

    return scene


@contextlib.contextmanager
def stopped_epmd(stage: Stage) -> Iterator[Host]:
    with stage.node() as (epmd, node):
        epmd.suspend()
        try:
            yield stage.host(node.home, {"611": str(epmd.pid)})
        finally:
            epmd.resume()


@contextlib.contextmanager
def only_dials(stage: Stage) -> Iterator[Host]:
    with stage.otp.node("ejabberd", epmd_port=4369, args=["-dist_listen", "false"]):
        yield stage.host()


@contextlib.contextmanager
def nameless(stage: Stage) -> Iterator[Host]:
    """A node that got its name at run time, and is stopped."""
    with stage.node(name=None) as (_epmd, node):
        node.eval("{ok, _} = net_kernel:start([ejabberd, shortnames])")
        node.suspend()
        try:
            yield stage.host()
        finally:
            node.resume()


@contextlib.contextmanager
def ejabberd(stage: Stage) -> Iterator[Host]:
    with Container(system(RELEASE), "localhost", own=("mount", "uts")) as box, Ejabberd(box):
        box.kill_epmd()
        yield stage.box(box)


@contextlib.contextmanager
def rabbitmq(stage: Stage) -> Iterator[Host]:
    with Container(system(RELEASE), "web1", own=("mount", "uts")) as box, RabbitMq(box) as application:
        box.kill_epmd()
        # The module runs outside of the container, where these files have another path.
        yield stage.box(box, {"/var/lib/rabbitmq": f"/proc/{application.pid}/root/var/lib/rabbitmq"})


@contextlib.contextmanager
def release(stage: Stage) -> Iterator[Host]:
    shop = Release(stage.otp, stage.directory / "shop", "a-cookie-of-the-shop")
    with stage.otp.epmd(4369) as epmd, shop.start(epmd_port=4369) as node:
        forget(epmd, node)
        yield stage.host(names={"/opt/shop": str(shop.root)})


@contextlib.contextmanager
def container(stage: Stage) -> Iterator[Host]:
    with Container(system(RELEASE)) as box, box.node("ejabberd", release=RELEASE, cookie="of-the-box", args=ON_PORT):
        box.kill_epmd()
        yield stage.host()


@contextlib.contextmanager
def application(stage: Stage) -> Iterator[Host]:
    """A host with a real systemd, where epmd lives in the unit of an application."""
    with Systemd(system(RELEASE), "web1") as box:
        box.systemctl("stop", "epmd.socket", "epmd.service")
        stage.enlist("web1", box.reached_from(stage.directory))
        with box.node("shop", "of-the-shop"):
            yield Host(lambda text: box.completed(["sh", "-c", text]), stage.control, {}, stage.elsewhere)


_UNIT = re.compile(r"# (/etc/systemd/system/\S+)\n")

# A timer does not wait for minutes.
_SOON = """[Timer]
OnBootSec=
OnUnitActiveSec=
OnActiveSec=1s
RandomizedDelaySec=0
AccuracySec=1us
"""

_REPOSITORY = """set -e
git init --quiet --bare /srv/erlang-hosts.git
cd /root/repository
git init --quiet
git add .
git -c user.name=me -c user.email=me@example.com commit --quiet --message=All
git push --quiet /srv/erlang-hosts.git HEAD:refs/heads/master
"""


@contextlib.contextmanager
def pulled(stage: Stage) -> Iterator[Host]:
    """A host with a real systemd, Ansible and Git, a repository, and the units that the page shows; a node is lost."""
    page = (CHECKOUT / "docs/docsite/rst/guide_self_healing.rst").read_text()
    blocks = {language: textwrap.dedent(body) for _indent, language, body in _RST.findall(page) if language == "yaml"}
    with Systemd(system(RELEASE), "web1") as box, box.node("shop", "of-the-host", args=ON_PORT):
        _bring_ansible_and_git(box)
        box.write("/root/repository/local.yml", blocks["yaml"])
        _copy(CHECKOUT, box.root / "root/repository/collections/ansible_collections/beamops/epmd")
        box.run("sh", "-c", _REPOSITORY)
        for _indent, language, body in _RST.findall(page):
            unit = textwrap.dedent(body).replace("https://git.example.com", "/srv").strip()
            if language == "ini":
                box.write(_UNIT.findall(unit)[0], unit)
        box.systemctl("stop", "epmd.socket", "epmd.service")
        wait_until(lambda: not box.names(), "the node to be lost")
        yield Host(lambda text: box.completed(["sh", "-c", text]), stage.control, {}, stage.elsewhere)
        # And by itself.
        box.systemctl("stop", "epmd.socket", "epmd.service", "epmd-heal.timer")
        wait_until(lambda: not box.names(), "the node to be lost again")
        box.write("/etc/systemd/system/epmd-heal.timer.d/soon.conf", _SOON)
        box.systemctl("daemon-reload")
        box.systemctl("start", "epmd-heal.timer")
        wait_until(lambda: "shop" in box.names(), "the timer to bring it back", seconds=120)


def _bring_ansible_and_git(box: Systemd) -> None:
    """Those of this machine: the host of the lab has no network. Git's libraries are there."""
    (packages,) = {str(Path(found).parent) for found in ansible.__path__}
    for name in ("ansible", "jinja2", "jinja2-*.dist-info", "markupsafe", "packaging", "resolvelib", "yaml"):
        (found,) = Path(packages).glob(name)
        _copy(found, box.root / "usr/lib/python3/dist-packages" / found.name)
    for name in ("ansible", "ansible-playbook", "ansible-pull"):
        module = {"ansible": "adhoc"}.get(name, name.removeprefix("ansible-"))
        box.write(f"/usr/bin/{name}", f"#!/usr/bin/python3\nfrom ansible.cli.{module} import main\nmain()\n")
        box.run("chmod", "755", f"/usr/bin/{name}")
    git = shutil.which("git")
    assert git
    for path in ("git", "git-upload-pack", "git-receive-pack"):
        shutil.copy(git, box.root / "usr/bin" / path)


def _copy(source: Path, target: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".*", "tests", "dist")
    shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)


SCENES: dict[str, Scene] = {
    "verdict_registered": healthy,
    "verdict_missing": cut,
    "by_hand": cut,
    "verdict_borrowed": squatted(PORT),
    "verdict_conflict": squatted(9999),
    "verdict_epmd_unresponsive": stopped_epmd,
    "verdict_not_applicable": only_dials,
    "verdict_unidentified": nameless,
    "guide_ejabberd": ejabberd,
    "guide_rabbitmq": rabbitmq,
    "guide_elixir": release,
    "guide_containers": container,
    "guide_epmd_service": application,
    "guide_self_healing": pulled,
}


@pytest.fixture(params=["checkout", pytest.param("installed", marks=pytest.mark.test_all)])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """The controller. Afterwards, no epmd may be left that a command has started."""
    if RELEASE not in RELEASES:
        pytest.skip(f"the pages are about OTP {RELEASE}")
    if request.param == "checkout":
        yield Stage(Otp.of(RELEASE), tmp_path)
    else:
        with Environment(request.getfixturevalue("artifact"), tmp_path) as environment:
            yield Installed(Otp.of(RELEASE), tmp_path, environment)
    assert not listeners(4369)


@pytest.mark.parametrize("name", PAGES)
def test_every_command_runs_as_it_is_printed(name: str, stage: Stage, request: pytest.FixtureRequest) -> None:
    path = PAGES[name]
    found = commands(name, path.read_text())
    with SCENES.get(path.stem, lost)(stage) if found else contextlib.nullcontext(stage.host()) as host:
        for number, command in enumerate(found):
            if command.play:
                playbook = stage.directory / f"{number}.yml"
                playbook.write_text(command.text)
                command = Command(f"ansible-playbook -i inventory {playbook.name}", [])  # noqa: PLW2901
            host.obey(command)
    for line in host.noted:
        request.node.user_properties.append(("not run as printed", f"{name}: {line}"))


@pytest.mark.test_all
def test_the_execution_environment_has_nothing_else(artifact: Path, tmp_path: Path) -> None:
    with Environment(artifact, tmp_path) as environment:
        listed = json.loads(environment.run(["ansible-galaxy", "collection", "list", "--format", "json"]).stdout)
        found = {name for collections in listed.values() for name in collections}
        assert found - {"ansible._protomatter"} == {"beamops.epmd"}  # the former is a part of ansible-core
        assert "/usr/lib/python3/dist-packages/ansible" in environment.run(["ansible", "--version"]).stdout
        assert not (environment.root / str(CHECKOUT).lstrip("/")).exists()


def test_every_page_is_listed_and_every_scene_has_its_page() -> None:
    pages = {path.stem for path in (CHECKOUT / "docs/docsite/rst").glob("*.rst")}
    listed = yaml.safe_load((CHECKOUT / "docs/docsite/extra-docs.yml").read_text())
    assert {page for section in listed["sections"] for page in section["toctree"]} == pages
    assert set(SCENES) <= pages


# Inline literals in reStructuredText and Markdown, which may be commands or files of this checkout.
_LITERAL = re.compile(r"(?<!`)(``?)(?!`)([^`\n]+)\1(?!`)")


@pytest.mark.parametrize("name", [*PAGES, "roles/scratch_node/README.md", "roles/epmd_service/README.md"])
def test_commands_and_files_in_sentences_exist(name: str, tmp_path: Path) -> None:
    for _quote, words in _LITERAL.findall((CHECKOUT / name).read_text()):
        if re.fullmatch(r"make [a-z-]+", words):
            command = ["make", "-C", str(CHECKOUT), "--dry-run", words.split()[1]]
        elif words.startswith("ansible-doc "):
            command = words.split()
        elif re.match(r"(tests|docs|plugins|roles|playbooks|benchmarks|extensions|meta|changelogs)/\S+$", words):
            assert any(CHECKOUT.glob(words)), f"{name}: {words} does not exist"
            continue
        else:
            continue
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, f"{name}: {words}: {done.stderr}"
