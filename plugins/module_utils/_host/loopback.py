# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host can reach itself, since every node asks its epmd at a loopback address. Private to the collection.

Standard: netdevice(7), ipv6(7). Of this network namespace.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct

SIOCGIFFLAGS, IFF_UP = 0x8913, 1


def cure(address: str) -> str:
    """What to type where this loopback address can't be reached; empty where that is not the cause."""
    if not _is_up():
        return "the loopback interface is down: ip link set lo up"
    if ":" in address and not _is_ours(address):
        return f"{address} is no address of this host: sysctl net.ipv6.conf.lo.disable_ipv6=0"
    return ""


def _is_up() -> bool:
    """Whether the interface is up; True where that can't be told."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        request = struct.pack("16sH14x", b"lo", 0)
        return bool(struct.unpack("16xH14x", fcntl.ioctl(asking, SIOCGIFFLAGS, request))[0] & IFF_UP)
    return True


def _is_ours(address: str) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trying:
        trying.bind((address, 0))
        return True
    return False
