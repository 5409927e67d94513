# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long, how deep, how many, how late: every limit on what others say, and on every wait. Pure.

Standard: the chapters that the other rooms name, where they set a limit; else what the largest honest
answer needs, with room to spare, and what a lie may cost: 64 MiB at most, and no second longer than
the time that the user gave.
"""

from __future__ import annotations

# What peers send, in bytes where nothing else is said.

MAX_NAME = 255
"""Characters of an atom, and so of the name of a node."""

MAX_EPMD_NAME_BYTES = 255 * 4
"""Of a name that epmd holds: as many characters in UTF-8 (MAXSYMLEN in epmd_int.h). Anybody may register one."""

MAX_HANDSHAKE_PACKET = 2048
"""No packet of a handshake is longer: two names of 255 characters in UTF-8 and some numbers."""

MAX_MESSAGE = 1 << 14
"""The answers that we ask for have some hundred; a byte can cost 70 in Python, so 1 MiB, and all 0.1 seconds."""

MAX_DEPTH = 64
"""Levels of a term: ours have 5 to 10, and each takes four frames of the 1000 that Python has."""

MAX_INTEGER_BYTES = 1024
"""Of an integer: the largest of an honest answer has 8, and Python prints no more than 4300 digits (1785 bytes)."""

MAX_REFERENCE_WORDS = 5
"""Words of a reference: NEWER_REFERENCE_EXT of the standard has no more."""

MAX_EPMD_NAMES = 4096
"""A real epmd has fewer than 1024 (FD_SETSIZE, see epmd.c), since each of them holds a connection."""

MAX_EPMD_REPLY = 1 << 20
"""As many names of full length, each with the words around it."""

# What files, processes and programs say, in bytes where nothing else is said.

MAX_COOKIE_FILE = 4096
"""A cookie is an atom of at most 255 characters; what follows it is nothing but line ends and spaces."""

MAX_OPTFILE = 1 << 16
"""An honest -ssl_dist_optfile has a few lines; a byte can cost 160 in Python, so 10 MiB."""

MAX_PEM_FILE = 1 << 20
"""A certificate with its chain has some KiB, all the CAs of a Debian 220 KiB."""

MAX_DIGITS = 1000
"""Characters of a number in such a file: ports have five, and int() gets slow, or refuses more than 4300."""

MAX_COMMAND_LINE = 1 << 18
"""Some hundred `-pa` of a large release have 50 KiB; the kernel allows 6 MiB, which can cost 390 in Python."""

MAX_ENVIRONMENT = 1 << 20
"""Each service of a cluster can put 500 bytes there; the kernel allows 6 MiB here too."""

MAX_COMMAND_OUTPUT = 1 << 16
"""What systemctl tells of two units has 2 KiB; in a container it is whatever the container says."""

MAX_CHILD_RESULT = 1 << 24
"""A full table of epmd in names, facts and both sides of the diff is 4 MiB, and a host has few epmds."""

MAX_AT_ONCE = 16
"""Nodes that are worked on at the same time: each has a child, with its memory and sockets, and its node an rpc."""

# What is shown to a person, in characters.

MAX_SENTENCE = 4000
"""The longest honest one lists the nodes of a host: a hundred of 40 characters."""

MAX_SHOWN_COMMAND = 160
"""Two lines of a terminal: who a process is shows at the start of its command line."""

# Waits, in seconds.

MAX_TIMEOUT = 3600
"""For one node, as the user's own limit; a longer wait is no check."""

HANG_UP_SECONDS = 0.25
"""A peer has this long to see that we hung up; one that hangs takes longer, and is left at that."""

FORGET_SECONDS = 0.5
"""For one way to have a node forget a dead socket; it was seen to take 7 ms."""

MARGIN_SECONDS = 5
"""What a child has in addition to the time for its nodes."""

KERNEL_SECONDS = 5
"""The kernel answers at once, or something is wrong with it."""
