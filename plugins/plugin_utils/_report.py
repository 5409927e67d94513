# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a report: a page, the same as JSON, and metrics. Written by the controller, each at once or not at all.

Private to the collection.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ._fleet import Record
from ._metrics import metrics
from ._page import page


class ReportError(Exception):
    """A directory that can't be written, in one sentence."""


def check(directory: str) -> None:
    """See that files can be written there; makes the directory if it is missing. Errors: ReportError."""
    with _in_one_sentence(directory):
        Path(directory).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass


def write(directory: str, fleet: Record) -> list[str]:
    """Write the files, and return their paths, the page first. Errors: ReportError."""
    files = {
        "html": page(fleet),
        "json": json.dumps(fleet, indent=1, ensure_ascii=False) + "\n",
        "prom": metrics(fleet),
    }
    with _in_one_sentence(directory):
        folder = Path(directory).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return [str(_write(folder / f"{fleet['playbook']}.{suffix}", text)) for suffix, text in files.items()]


@contextlib.contextmanager
def _in_one_sentence(directory: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or directory
        raise ReportError(
            f"nothing can be written to {directory} ({where}: {error.strerror}); give a directory that you may write to"
        ) from error


def _write(path: Path, text: str) -> Path:
    """Replace a file at once, so that whoever reads it meanwhile, as node_exporter does, finds all of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            # As any new file: whoever is to read a report is the business of the user's umask.
            umask = os.umask(0o077)
            os.umask(umask)
            os.fchmod(file.fileno(), 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path
