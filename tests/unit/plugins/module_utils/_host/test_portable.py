# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is special about psutil: its two spellings, and its errors as those of the system.

What it has in common with the other way is in `test_reader.py`.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import portable
from ansible_collections.beamops.epmd.plugins.module_utils._host.interface import Socket
from ansible_collections.beamops.epmd.plugins.module_utils._host.portable import Portable

SELF = os.getpid()
LISTENER = SimpleNamespace(
    fd=7, laddr=SimpleNamespace(ip="0.0.0.0", port=4711), raddr=(), status=psutil.CONN_LISTEN, pid=None
)
SOCKET = Socket("0.0.0.0", 4711, "", 0, None, None, None)


@pytest.mark.parametrize("spelling", ["connections", "net_connections"])
def test_both_spellings_of_psutil_are_known(spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    process = SimpleNamespace(**{spelling: lambda kind: [LISTENER] if kind == "tcp" else []})
    monkeypatch.setattr(psutil, "Process", lambda _pid: process)
    assert Portable().descriptors(1, [SOCKET]) == {SOCKET: 7}


def test_a_socket_without_a_holder_that_can_be_seen_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_connections", lambda **_options: [LISTENER])
    assert Portable().listening() == [SOCKET]
    assert Portable().holders([SOCKET]) == {}


@pytest.mark.parametrize(
    ("error", "translated"),
    [
        (psutil.NoSuchProcess(1), ProcessLookupError),
        (psutil.ZombieProcess(1), ProcessLookupError),
        (FileNotFoundError(2, "gone"), ProcessLookupError),
        (psutil.AccessDenied(1), PermissionError),
        (psutil.TimeoutExpired(1), OSError),
        (RuntimeError("malformed /proc/net/tcp"), OSError),
        (NotImplementedError("platform not supported"), OSError),
    ],
)
def test_the_errors_of_psutil_are_those_of_the_system(
    error: Exception, translated: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise error

    for name in ("Process", "net_connections", "process_iter"):
        monkeypatch.setattr(psutil, name, fail)
    host = Portable()
    for read in (
        host.names,
        host.listening,
        host.connected,
        lambda: host.process(1),
        lambda: host.descriptors(1, [SOCKET]),
        lambda: host.holders([SOCKET]),
    ):
        with pytest.raises(translated) as caught:
            read()
        assert caught.value.__class__ is translated
        assert caught.value.strerror


def test_each_part_of_a_process_may_be_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_process: psutil.Process) -> None:
        raise psutil.AccessDenied(SELF)

    for name in ("name", "uids", "exe", "cmdline", "environ"):
        monkeypatch.setattr(psutil.Process, name, refuse)
    assert Portable().process(SELF) == (SELF, "", None, None, [], {})


def test_a_system_whose_psutil_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil.Process, "environ")
    found = Portable().process(SELF)
    assert found.environment == {}
    assert found.arguments


def test_a_process_without_a_name_that_can_be_seen_has_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    process = SimpleNamespace(pid=1, info={"name": None})
    monkeypatch.setattr(psutil, "process_iter", lambda **_options: [process])
    assert Portable().names() == {1: ""}


@pytest.mark.parametrize(("words", "length"), [([], 0), ([""], 1), (["a", "\u00e9\udcff"], 6)])
def test_a_length_is_in_bytes_with_what_ends_each_word(words: list[str], length: int) -> None:
    assert portable._length(words) == length
