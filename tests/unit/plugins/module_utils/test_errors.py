# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any error becomes one sentence, which calls only mistakes of ours a defect of the collection."""

from __future__ import annotations

import errno
import os

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import Ended, EpmdError, TimedOut, in_words


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (TimedOut("no answer"), TimedOut, "no answer"),
        (MemoryError(), EpmdError, "this host is out of memory: free some and run again"),
        (
            ModuleNotFoundError("No module named 'hmac'", name="hmac"),
            EpmdError,
            "this Python can't import hmac (No module named 'hmac'): repair it and run again",
        ),
        (
            ImportError("can't open Zip file: '/tmp/x.zip'"),
            EpmdError,
            "this Python can't import what it needs (can't open Zip file: '/tmp/x.zip'): repair it and run again",
        ),
        (
            OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/etc/x"),
            EpmdError,
            "the operating system reports Too many open files (/etc/x): correct that and run again",
        ),
        (
            FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/proc/1/stat"),
            Ended,
            "a process ended while it was looked at: run again",
        ),
        (KeyError("x"), EpmdError, "KeyError: 'x' (at ?; this is a defect of the collection: report it)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_any_error_is_one_sentence(error: Exception, kind: type[EpmdError], words: str) -> None:
    said = in_words(error)
    assert (type(said), str(said)) == (kind, words)
