# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of this collection: each is one sentence for the operator, and one word for programs.

Standard: none but ours. Two kinds, as in every protocol library: the peer broke the rules (ProtocolError), or it could
not be reached in time (Unreachable). Everything else that stops the work is an EpmdError. Private to the collection.
"""

from __future__ import annotations

import os

from ._legible import legible


class EpmdError(Exception):
    """What was wrong, where, and what to do, in one sentence. Never holds a cookie.

    reason: the same for programs, as `reason` in the result of the modules.
    """

    reason = "failed"


class Ended(EpmdError):
    """A process ended while it was looked at."""


class InvalidOption(EpmdError):
    """An option of the module that can't be meant."""

    reason = "invalid_option"


class PsutilMissing(EpmdError):
    """This host can be read with psutil alone, and its Python has none."""

    reason = "psutil_missing"


class NotPermitted(EpmdError):
    """The operating system does not let this user see what is needed."""

    reason = "not_permitted"


class NoCookie(EpmdError):
    """The cookie of a node is not where it should be, or is none."""

    reason = "no_cookie"


class NoMd5(EpmdError):
    """This Python can't compute the digest of the handshake."""


class ProtocolError(EpmdError):
    """The peer sent bytes that the standard does not allow at this place."""

    reason = "protocol_error"


class SpeaksTls(ProtocolError):
    """The peer answered a plain handshake with an alert of TLS."""


class Unreachable(EpmdError):
    """The peer refused the connection, closed it, or did not answer in time."""

    reason = "unreachable"


class Refused(Unreachable):
    """Nothing listens there: the connection was refused."""


class Closed(Unreachable):
    """The peer closed the connection where an answer was due."""


class TimedOut(Unreachable):
    """The time for this node is used up."""

    reason = "timeout"


class TlsFailed(EpmdError):
    """No TLS connection came about, or it broke: a certificate, or a peer that does not speak TLS."""

    reason = "tls_failed"


class SpeaksNoTls(TlsFailed):
    """The peer does not speak TLS at all."""


class NodeRefused(EpmdError):
    """A node answered, and does not let us connect."""

    reason = "node_refused"


class NeedsNoEpmd(EpmdError):
    """A node says itself that it registers at no epmd."""

    reason = "not_applicable"


class CannotTell(EpmdError):
    """A node that may need no epmd could not be asked whether it does."""

    reason = "unidentified"


class CannotStart(EpmdError):
    """An epmd that is down could not be started, or may not be."""

    reason = "epmd_not_started"


class StillSilent(CannotStart):
    """An epmd was started, and does not answer."""


class NotRegistered(EpmdError):
    """A node was asked to register itself, and epmd does not have its name."""

    reason = "not_registered"


def in_words(error: BaseException) -> EpmdError:
    """Any error as one of ours, whose sentence is legible; of a mistake of ours it says where that is."""
    if isinstance(error, EpmdError):
        return type(error)(legible(str(error)))
    if isinstance(error, MemoryError):
        return EpmdError("this host is out of memory: free some and run again")
    if isinstance(error, ImportError):  # also where its file can't be read at the moment
        what = error.name or "what it needs"
        return EpmdError(legible(f"this Python can't import {what} ({error}): repair it and run again"))
    if not isinstance(error, OSError):
        where = f"at {_place(error)}; this is a defect of the collection: report it"
        return EpmdError(legible(f"{type(error).__name__}: {error} ({where})"))
    path = str(error.filename or "")
    if isinstance(error, ProcessLookupError) or (isinstance(error, FileNotFoundError) and path.startswith("/proc/")):
        return Ended("a process ended while it was looked at: run again")
    what = f"{error.strerror or error}{f' ({path})' if path else ''}"
    return EpmdError(legible(f"the operating system reports {what}: correct that and run again"))


def _place(error: BaseException) -> str:
    """The file and the line in which an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)} line {trace.tb_lineno}" if trace else "?"
