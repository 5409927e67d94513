# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest that proves the cookie, for the second half of a handshake. Pure. Private to the collection.

Standard: `gen_digest` in dist_util.erl.
"""

from __future__ import annotations

import hashlib
import hmac

from .._errors import NoMd5


def digest(cookie: bytes, challenge: int) -> bytes:
    """MD5 of the cookie followed by the challenge in decimal (`gen_digest` in dist_util.erl). Errors: NoMd5."""
    text = cookie + b"%d" % challenge
    try:
        try:
            # In FIPS mode there is no MD5 for security, and the protocol has no other digest.
            return hashlib.md5(text, usedforsecurity=False).digest()
        except TypeError:  # before Python 3.9
            return hashlib.md5(text).digest()
    except (ValueError, AttributeError):
        raise NoMd5(
            "the Python on this host has no MD5, without which no Erlang node lets us connect: give another Python "
            "with ansible_python_interpreter"
        ) from None


def agrees(theirs: bytes, cookie: bytes, challenge: int) -> bool:
    """Whether a digest is that of this cookie and this challenge. Errors: NoMd5."""
    return hmac.compare_digest(theirs, digest(cookie, challenge))
