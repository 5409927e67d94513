# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the cookie of a node is.

Standard: `auth.erl` of kernel: the command line, else `.erlang.cookie` in the home that the node was started with, else
(OTP 25 and newer) in `erlang` under XDG_CONFIG_HOME; the file is regular, of the node's user, and for nobody else to
read. An Elixir release is started with RELEASE_COOKIE or with the content of `releases/COOKIE` (Mix.Tasks.Release).
Options of the user come before all. Private to the collection.

The cookie is for the digest alone: no message of this file contains it.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from .._deadline import Deadline
from .._errors import NoCookie
from .._limits import MAX_COOKIE_FILE
from .._record import Record

if TYPE_CHECKING:
    from .vms import Vm

# check_cookie in auth.erl: printable characters, then nothing but line ends and spaces.
_CONTENT = rb"([ -~]+)[\r\n ]*"


class Cookie(Record):
    """A cookie as bytes, and where it was found."""

    value: bytes
    source: str

    def __repr__(self) -> str:
        return f"Cookie(***, {self.source!r})"


def find(vm: Vm, option: str | None, option_file: str | None, deadline: Deadline) -> Cookie:
    """The cookie of this node. Errors: NoCookie, which names the place that failed; as `inside.with_files_of`."""
    if option is not None:
        return Cookie(_encoded(option, "the option cookie"), "the option cookie")
    if option_file is not None:
        from . import inside

        content = inside.with_files_of(None, deadline.left(), lambda: _read(option_file, owner=None))
        return Cookie(content, option_file)
    line = vm.command_line
    if line.cookie is not None:
        return Cookie(_encoded(line.cookie, line.cookie_source), line.cookie_source)
    paths = []
    if line.release_root:
        paths.append(os.path.join(line.release_root, "releases", "COOKIE"))
    if line.home:
        paths.append(os.path.join(line.home, ".erlang.cookie"))
        paths.append(os.path.join(line.config_home or os.path.join(line.home, ".config"), "erlang", ".erlang.cookie"))
    from . import inside

    found = inside.with_files_of(vm.pid, deadline.left(), lambda: _first(paths, vm))
    if found is None:
        where = " or ".join(paths) or "its command line (and its home is not known)"
        raise NoCookie(f"no cookie at {where}: give cookie or cookie_file")
    return Cookie(*found)


def _first(paths: list[str], vm: Vm) -> tuple[bytes, str] | None:
    """The first of these files that is there, and its path."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            return _read(path, owner=vm), path
    return None


def _encoded(text: str, source: str) -> bytes:
    try:
        value = text.encode("latin-1")
    except UnicodeEncodeError:
        value = b""
    if not value:
        raise NoCookie(f"the cookie from {source} is empty or has characters that no cookie can have")
    return value


def _read(path: str, owner: Vm | None) -> bytes:
    """A cookie file, which has to be the `owner`'s own where there is one.

    Errors: NoCookie; with an owner, FileNotFoundError where it is missing.
    """
    from . import files, rights

    try:
        found = files.read(path, MAX_COOKIE_FILE)
    except FileNotFoundError:
        if owner is not None:
            raise
        raise NoCookie(f"the cookie file {path} does not exist") from None
    except OSError as error:
        failure = f"the cookie file {path} can't be read"
        if owner is not None:
            raise NoCookie(
                f"{failure} by {owner.user}, whose node this is ({error.strerror}): give cookie or cookie_file"
            ) from None
        cure = rights.cure(rights.READ, "give cookie") if isinstance(error, PermissionError) else ": give cookie"
        raise NoCookie(f"{failure} ({error.strerror}){cure}") from None
    if found is None:
        raise NoCookie(f"the cookie file {path} is not a regular file")
    status, content = found
    # Root may have put a release there for its user, and a script that is not Erlang reads its cookie.
    released = os.path.basename(path) == "COOKIE"
    if owner is not None and status.st_uid != owner.uid and not (released and status.st_uid == 0):
        raise NoCookie(
            f"the cookie file {path} does not belong to {owner.user}, whose node this is: give cookie or cookie_file"
        )
    if owner is not None and status.st_mode & 0o077 and not released:
        raise NoCookie(f"the cookie file {path} must be accessible by its owner only: chmod 400 it, as Erlang demands")
    match = re.fullmatch(_CONTENT, content)
    if match is None or len(content) > MAX_COOKIE_FILE:
        raise NoCookie(f"the cookie file {path} holds no cookie: it should be one line of printable characters")
    return match.group(1)
