# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scratch node is made like: a node of this host, or an Erlang that is given by its program.

Standard: the layout of an OTP root directory (`erts-*/bin`, `bin/*.boot`) and of a release (`releases/*/*.boot`);
`cookies.py` for where a cookie is. Private to the collection.
"""

from __future__ import annotations

import glob
import os
import secrets
from typing import Mapping, Sequence

from .._deadline import Deadline
from .._errors import CannotStart, EpmdError, NotPermitted
from .._host import command_line, cookies, likeness, namespaces, programs, rights, vms
from .._host.reader import reader
from .._host.vms import Vm
from .._record import Record

_WHERE = 'io:format("~ts~n~ts~n", [os:getenv("BINDIR"), code:root_dir()]), halt().'


class NotRehearsed(EpmdError):
    """There is a node for which no scratch node is started."""

    reason = "not_rehearsed"


class Model(Record):
    """What a scratch node is made like.

    vm: the node, with pid None for a given Erlang. names: the nodes that it stands for. host: that of its name, empty
    for the host's own. rights: None for ours. settings: environment variables by which it, and the module, find its
    cookie; empty where that is the file in its home.
    """

    vm: Vm
    names: tuple[str, ...]
    host: str
    arguments: list[str]
    environment: dict[str, str]
    bindir: str
    root: str
    boot: str
    rights: rights.Rights | None
    settings: dict[str, str]
    cookie: bytes

    def __repr__(self) -> str:
        return f"Model({self.names!r})"

    @property
    def kind(self) -> object:
        """Equal for two nodes for which one scratch node is enough."""
        wanted = likeness.Wanted("", 0, "", 0, bool(self.settings), self.vm.command_line.inet6)
        return (
            self.vm.uid,
            self.bindir,
            tuple(likeness.flags(self.arguments, wanted, self.boot)),
            self.cookie,
            "" if self.settings else self.vm.command_line.home,
        )


def of_node(name: str, vm: Vm, deadline: Deadline) -> Model:
    """A node of this host, by its full name. Errors: EpmdError; NotRehearsed where none could be started beside it."""
    if vm.pid is None or vm.namespace is not None or namespaces.is_container(vm.pid):
        raise NotRehearsed(
            "it runs in a container or in a network of its own, where nothing is started: rehearse inside of it"
        )
    if os.geteuid() not in (0, vm.uid):
        raise NotPermitted(f"only root or {vm.user} may start a node as {vm.user}: run with become")
    refused = rights.lack(rights.BECOME) if os.geteuid() != vm.uid else ""
    if refused:
        raise NotPermitted(f"no node can be started as {vm.user}{refused}")
    cookie = cookies.find(vm, None, None, deadline)
    process = reader().process(vm.pid)
    settings = {}
    if cookie.source == vm.command_line.cookie_source:
        settings = {"RELEASE_COOKIE": os.fsdecode(cookie.value)}
    elif os.path.basename(cookie.source) == "COOKIE":
        settings = {"RELEASE_ROOT": str(vm.command_line.release_root)}
    directories = [os.path.dirname(vm.executable or ""), vm.command_line.bindir or ""]
    bindir = next((path for path in directories if path and os.access(os.path.join(path, "erlexec"), os.X_OK)), None)
    if bindir is None:
        raise NotRehearsed(
            f"the Erlang that it runs is no longer in {directories[0] or directories[1]}: it was upgraded or removed "
            "since the node was started"
        )
    root = likeness.root_of(process.arguments, bindir)
    environment = {**process.environment, "HOME": vm.command_line.home or "/"}
    return Model(
        vm,
        (name,),
        name.partition("@")[2],
        process.arguments,
        environment,
        bindir,
        root,
        _boot_file(process.arguments, root),
        rights.of_process(vm.pid),
        settings,
        cookie.value,
    )


def of_program(erl: str, deadline: Deadline) -> Model:
    """The Erlang that this program starts, under our own user and with a new cookie. Errors: CannotStart."""
    # Without HOME erlexec does not start.
    command = ["env", "HOME=/", erl, "-noinput", "-boot", "start_clean", "-eval", _WHERE]
    said = programs.run(programs.host(), command, deadline, f"{erl} does not start an Erlang").splitlines()
    if len(said) != 2 or not os.path.isabs(said[0]):
        raise CannotStart(f"{erl} does not start an Erlang: it printed {said[:1]} where its directories were due")
    bindir, root = said
    uid = os.geteuid()
    cookie = secrets.token_hex(16)
    vm = Vm(None, uid, vms.user_name(uid), os.path.join(bindir, "beam.smp"), command_line.parse([], {}))
    environment = {"PATH": programs.PATH, "LANG": "C.UTF-8", "HOME": "/"}
    boot = _boot_file([], root)
    settings = {"RELEASE_COOKIE": cookie}
    return Model(vm, (), "", [], environment, bindir, root, boot, None, settings, cookie.encode())


def distinct(models: Sequence[Model]) -> list[Model]:
    """One model for each kind, which stands for all nodes of that kind."""
    found: dict[object, Model] = {}
    for model in models:
        same = found.get(model.kind)
        found[model.kind] = same._replace(names=(*same.names, *model.names)) if same else model
    return list(found.values())


def environment_of(model: Model, wanted: likeness.Wanted) -> Mapping[str, str]:
    """The environment of its scratch node."""
    settings = {**model.settings, "RELEASE_NODE": wanted.name} if model.settings else {}
    erlang = {"ROOTDIR": model.root, "BINDIR": model.bindir, "EMU": "beam", "PROGNAME": "erl"}
    return likeness.environment(model.environment, wanted, **erlang, **settings)


def _boot_file(arguments: Sequence[str], root: str) -> str:
    """A boot file for an empty node, without its extension. Errors: NotRehearsed."""
    directories = likeness.boot_directories(arguments, root)
    directories += sorted(glob.glob(os.path.join(glob.escape(root), "releases", "*")), reverse=True)
    for name in likeness.BOOT_FILES:
        for directory in directories:
            path = os.path.join(directory, name)
            if os.path.exists(f"{path}.boot"):
                return path
    raise NotRehearsed(f"its Erlang below {root} has no start_clean.boot, with which an empty node could be started")
