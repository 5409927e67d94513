# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time; do not use it from elsewhere.
"""The errors of this collection: each is one sentence for the operator.

Two kinds, as in every protocol library: the peer broke the rules (ProtocolError), or it could
not be reached in time (Unreachable). Everything else that stops the work is an EpmdError.
"""

from __future__ import annotations


class EpmdError(Exception):
    """What was wrong, where, and what to do, in one sentence. Never holds a cookie."""


class ProtocolError(EpmdError):
    """The peer sent bytes that the standard does not allow at this place."""


class Unreachable(EpmdError):
    """The peer refused the connection, closed it, or did not answer in time."""


class Refused(Unreachable):
    """Nothing listens there: the connection was refused."""


class Closed(Unreachable):
    """The peer closed the connection where an answer was due."""


class TlsFailed(EpmdError):
    """No TLS connection came about, or it broke: a certificate, or a peer that does not speak TLS."""


class NodeRefused(EpmdError):
    """A node answered, and does not let us connect."""


class TimedOut(Unreachable):
    """The time for this node is used up."""


class StillSilent(EpmdError):
    """An epmd was started, and does not answer."""


class NotPermitted(EpmdError):
    """The operating system does not let this user see what is needed."""
