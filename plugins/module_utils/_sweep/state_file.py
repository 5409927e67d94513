# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in which a watch keeps what it knows, so that a restart forgets nothing. Private to the collection.

Standard: JSON; rename(2), so that it is whole at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import Any

from .._errors import InvalidOption
from .._limits import MAX_STATE_FILE

VERSION = 1


def read(path: str) -> dict[str, Any] | None:
    """What was written last; None if there is no file yet. Errors: InvalidOption, also where it can't be written."""
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK):
        raise InvalidOption(f"state_file {path}: nothing can be written in {directory}: create it, or give another one")
    try:
        with open(path, encoding="utf-8") as file:
            kept = json.loads(file.read(MAX_STATE_FILE))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidOption(f"state_file {path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise damaged(path, "it is not JSON") from None
    if not isinstance(kept, dict) or kept.get("version") != VERSION or set(kept) != {"version", "epmds", "healing"}:
        raise damaged(path, f"it is not a state file of version {VERSION}")
    return kept


def damaged(path: str, why: str) -> InvalidOption:
    """The error for a file with something else in it."""
    return InvalidOption(f"state_file {path} can't be used: {why}; move it away, and the watch starts anew")


def write(path: str, kept: dict[str, Any]) -> None:
    """Replace the file. Errors: OSError."""
    text = json.dumps({"version": VERSION, **kept})
    # For its owner alone, as tempfile does it.
    descriptor, made = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path) or ".")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(made)
        raise
