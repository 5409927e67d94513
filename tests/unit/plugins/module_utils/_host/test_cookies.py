# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a cookie is looked for, which files are refused, and that none is ever shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import NoCookie
from ansible_collections.beamops.epmd.plugins.module_utils._host import command_line, cookies
from ansible_collections.beamops.epmd.plugins.module_utils._host.cookies import Cookie
from ansible_collections.beamops.epmd.plugins.module_utils._host.vms import Vm

SECRET = "SECRETCOOKIE"


def vm(home: Path | None, *arguments: str, pid: int | None = None, **environment: str) -> Vm:
    """A node of this user with this home; without a pid it is here."""
    line = ["beam.smp", "--", *(["-home", str(home)] if home else []), *arguments]
    return Vm(pid, os.getuid(), "ejabberd", None, command_line.parse(line, environment))


@pytest.mark.parametrize("pid", [None, os.getpid()], ids=["unknown", "known"])
def test_a_file_is_read_with_the_rights_of_the_node(pid: int | None, tmp_path: Path) -> None:
    path = write(tmp_path / ".erlang.cookie")
    assert cookies.find(vm(tmp_path, pid=pid), None, None, Deadline(60)) == Cookie(SECRET.encode(), str(path))
    path.unlink()
    assert "no cookie at" in refusal(vm(tmp_path, pid=pid))


@pytest.mark.parametrize("mode", [0o400, 0o644])
def test_the_cookie_of_a_release_may_be_a_file_that_others_can_read(mode: int, tmp_path: Path) -> None:
    """A script that is not Erlang reads it, and root may have put it there."""
    path = write(tmp_path / "release/releases/COOKIE", mode=mode)
    write(tmp_path / "home/.erlang.cookie", b"OF THE HOME")
    node = vm(tmp_path / "home", RELEASE_ROOT=f"{tmp_path}/release", RELEASE_NODE="vic")
    assert cookies.find(node, None, None, Deadline(60)) == Cookie(SECRET.encode(), str(path))
    path.unlink()
    assert cookies.find(node, None, None, Deadline(60)).value == b"OF THE HOME"


def write(path: Path, content: bytes = SECRET.encode(), mode: int = 0o400) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refusal(node: Vm, option: str | None = None, option_file: str | None = None) -> str:
    with pytest.raises(NoCookie) as caught:
        cookies.find(node, option, option_file, Deadline(60))
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    return str(caught.value)


def test_the_options_come_before_all(tmp_path: Path) -> None:
    home, file = write(tmp_path / "home/.erlang.cookie").parent, write(tmp_path / "file", b"OF THE FILE")
    node = vm(home, "-setcookie", "OF THE COMMAND LINE")
    assert cookies.find(node, "OF THE OPTION", str(file), Deadline(60)) == Cookie(b"OF THE OPTION", "the option cookie")
    assert cookies.find(node, None, str(file), Deadline(60)) == Cookie(b"OF THE FILE", str(file))
    assert cookies.find(node, None, None, Deadline(60)).value == b"OF THE COMMAND LINE"


def test_the_environment_of_a_release_comes_before_its_home(tmp_path: Path) -> None:
    home = write(tmp_path / ".erlang.cookie").parent
    assert (
        cookies.find(vm(home, RELEASE_COOKIE="OTHER", RELEASE_NODE="vic"), None, None, Deadline(60)).value == b"OTHER"
    )


def test_the_home_comes_before_the_configuration(tmp_path: Path) -> None:
    later = write(tmp_path / "config/erlang/.erlang.cookie", b"LATER")
    node = vm(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert cookies.find(node, None, None, Deadline(60)) == Cookie(b"LATER", str(later))
    first = write(tmp_path / ".erlang.cookie", b"FIRST")
    assert cookies.find(node, None, None, Deadline(60)) == Cookie(b"FIRST", str(first))


def test_the_configuration_is_in_the_home_where_nothing_says_otherwise(tmp_path: Path) -> None:
    write(tmp_path / ".config/erlang/.erlang.cookie", b"LATER")
    assert cookies.find(vm(tmp_path), None, None, Deadline(60)).value == b"LATER"


def test_no_cookie_anywhere_names_the_places(tmp_path: Path) -> None:
    message = refusal(vm(tmp_path))
    assert f"{tmp_path}/.erlang.cookie or {tmp_path}/.config/erlang/.erlang.cookie" in message
    assert "give cookie or cookie_file" in message


def test_no_cookie_and_no_home_says_so() -> None:
    assert "its home is not known" in refusal(vm(None))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"A", b"A"),
        (b"MONSTER", b"MONSTER"),
        (b"MONSTER\n", b"MONSTER"),
        (b"MONSTER\r\n", b"MONSTER"),
        (b"MONSTER\n\n \r\n", b"MONSTER"),
        (b"MONSTER  \n", b"MONSTER  "),
        (b" MONSTER", b" MONSTER"),
        (b"a b\n", b"a b"),
        (b" ~", b" ~"),
        (b"x" * _limits.MAX_COOKIE_FILE, b"x" * _limits.MAX_COOKIE_FILE),
        (b"x" * (_limits.MAX_COOKIE_FILE - 1) + b"\n", b"x" * (_limits.MAX_COOKIE_FILE - 1)),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_file_is_read_as_auth_erl_reads_it(content: bytes, value: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / ".erlang.cookie", content)
    assert cookies.find(vm(tmp_path), None, None, Deadline(60)) == Cookie(value, str(path))
    assert cookies.find(vm(None), None, str(path), Deadline(60)) == Cookie(value, str(path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\r\n\n",
        b"\n" + SECRET.encode(),
        SECRET.encode() + b"\nx",
        SECRET.encode() + b"\n\t",
        SECRET.encode() + b"\t",
        SECRET.encode() + b"\0",
        SECRET.encode() + b"\x7f",
        SECRET.encode() + b"\x1f",
        SECRET.encode() + b"\xc3\xa9",
        b"\xff\xfe" + SECRET.encode(),
        SECRET.encode() * (_limits.MAX_COOKIE_FILE // len(SECRET) + 1),
        SECRET.encode() + b"\n" * _limits.MAX_COOKIE_FILE,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_file_that_holds_no_cookie_is_refused(content: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / ".erlang.cookie", content)
    message = f"the cookie file {path} holds no cookie"
    assert message in refusal(vm(tmp_path))
    assert message in refusal(vm(None), None, str(path))


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_for_its_owner_alone_is_taken(mode: int, tmp_path: Path) -> None:
    write(tmp_path / ".erlang.cookie", mode=mode)
    assert cookies.find(vm(tmp_path), None, None, Deadline(60)).value == SECRET.encode()


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o640, 0o644, 0o410, 0o420, 0o401, 0o402])
def test_a_file_that_is_open_to_others_is_refused_as_erlang_does(mode: int, tmp_path: Path) -> None:
    path = write(tmp_path / ".erlang.cookie", mode=mode)
    message = refusal(vm(tmp_path))
    assert f"the cookie file {path} must be accessible by its owner only: chmod 400 it" in message


def test_a_file_of_the_option_may_belong_to_anybody(tmp_path: Path) -> None:
    path = write(tmp_path / "cookie", mode=0o644)
    node = vm(None)._replace(uid=os.getuid() + 1)
    assert cookies.find(node, None, str(path), Deadline(60)).value == SECRET.encode()


def test_a_file_of_another_user_than_the_nodes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / ".erlang.cookie")
    message = refusal(vm(tmp_path)._replace(uid=os.getuid() + 1))
    assert f"{path} does not belong to ejabberd, whose node this is" in message


def test_a_missing_file_of_the_option_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path}/cookie does not exist" in refusal(vm(tmp_path), None, f"{tmp_path}/cookie")


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "file")
    why = "(Not a directory): give cookie"
    assert f"can't be read by {vm(path).user}, whose node this is {why} or cookie_file" in refusal(vm(path))
    assert refusal(vm(None), None, f"{path}/cookie").endswith(f"can't be read {why}")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ".erlang.cookie"
    path.mkdir(mode=0o700)
    assert f"{path} is not a regular file" in refusal(vm(tmp_path))
    assert f"{path} is not a regular file" in refusal(vm(None), None, str(path))


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / ".erlang.cookie"
    os.mkfifo(path, mode=0o600)
    assert f"{path} is not a regular file" in refusal(vm(tmp_path))
    assert f"{path} is not a regular file" in refusal(vm(None), None, str(path))


def test_a_refused_file_is_closed_again(tmp_path: Path) -> None:
    (tmp_path / ".erlang.cookie").mkdir()
    before = os.listdir("/proc/self/fd")
    refusal(vm(tmp_path))
    assert os.listdir("/proc/self/fd") == before


def test_a_symbolic_link_counts_as_what_it_points_to(tmp_path: Path) -> None:
    target, link = write(tmp_path / "target"), tmp_path / ".erlang.cookie"
    link.symlink_to(target)
    assert cookies.find(vm(tmp_path), None, None, Deadline(60)).value == SECRET.encode()
    target.chmod(0o440)
    assert "accessible by its owner only" in refusal(vm(tmp_path))
    target.unlink()
    assert "no cookie at" in refusal(vm(tmp_path))
    link.unlink()
    link.symlink_to(link)
    assert "can't be read" in refusal(vm(tmp_path))


@pytest.mark.parametrize("cookie", ["", f"{SECRET}\u0100", f"{SECRET}\udcff"])
def test_a_cookie_that_no_node_can_have_is_refused(cookie: str) -> None:
    assert "the option cookie is empty or has characters" in refusal(vm(None), cookie)
    if cookie:
        assert "-setcookie on its command line" in refusal(vm(None, "-setcookie", cookie))


def test_a_cookie_of_latin_1_goes_into_the_digest_as_erlang_has_it() -> None:
    assert cookies.find(vm(None), "\u00e9", None, Deadline(60)).value == b"\xe9"


def test_a_cookie_does_not_show_when_it_is_printed() -> None:
    cookie = Cookie(SECRET.encode(), "somewhere")
    for text in (repr(cookie), str(cookie), f"{cookie}", f"{[cookie]}", f"{cookie!r:>50}"):
        assert SECRET not in text
        assert "somewhere" in text
