# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every limit in one place: on what peers, files and programs send, and on every wait. Private to the collection.

Standard: the chapters that the other files name, where they set a limit. Elsewhere a limit is what the largest honest
answer needs, and some to spare, and bounds what a hostile one costs: 64 MiB of memory at most, and no wait beyond the
user's timeout.
"""

from __future__ import annotations

# What peers send; in bytes, unless it says otherwise.

MAX_NAME = 255
"""Characters of an atom, and so of a node name."""

MAX_EPMD_NAME_BYTES = 255 * 4
"""A name that epmd holds: as many characters, in UTF-8 (MAXSYMLEN in epmd_int.h). Any local user can register one."""

MAX_HANDSHAKE_PACKET = 2048
"""The longest handshake packet has a name of 255 characters in UTF-8 and some numbers."""

MAX_MESSAGE = 1 << 14
"""Replies have a few hundred bytes. Decoding can take 70 bytes of memory for each: about 1 MiB."""

MAX_DEPTH = 64
"""Levels of a term: those that we ask for have 5 to 10. Each takes four frames, and Python has 1000."""

MAX_INTEGER_BYTES = 1024
"""An integer: the largest in an honest answer has 8. Python prints at most 4300 digits, which is 1785 bytes."""

MAX_REFERENCE_WORDS = 5
"""Words of a reference: NEWER_REFERENCE_EXT allows no more."""

MAX_EPMD_NAMES = 4096
"""A real epmd has fewer than 1024 (FD_SETSIZE, see epmd.c), since each name holds a connection."""

MAX_EPMD_REPLY = 1 << 20
"""A table of that many names of full length."""

MAX_SWEPT_REPLY = 1 << 16
"""A table, where very many epmds are asked at once: 1024 names of 40 characters. Times MAX_SWEPT_AT_ONCE: 64 MiB."""

MAX_ADDRESSES = 8
"""Addresses of one host that are tried: a host has one or two of each family."""

# What files, processes and programs contain or print; in bytes, unless it says otherwise.

MAX_COOKIE_FILE = 4096
"""A cookie is an atom of at most 255 characters, followed by line ends and spaces alone."""

MAX_PASSWD = 1 << 16
"""The users of a container: Debian has 18, in 1 KiB."""

MAX_OPTFILE = 1 << 16
"""An honest -ssl_dist_optfile has a few lines. Parsing can take 160 bytes of memory for each: 10 MiB."""

MAX_PEM_FILE = 1 << 20
"""A certificate with its chain has a few KiB, all CAs of Debian together 220 KiB."""

MAX_DIGITS = 1000
"""Characters of a number in such a file: ports have five. int() gets slow, and refuses more than 4300."""

MAX_COMMAND_LINE = 1 << 18
"""The `-pa` flags of a large release have 50 KiB. Parsing can take 75 bytes of memory for each: 20 MiB."""

MAX_ENVIRONMENT = 1 << 20
"""Each service of a Kubernetes cluster can add 500 bytes. The kernel allows 6 MiB here, too."""

MAX_COMMAND_OUTPUT = 1 << 18
"""What systemctl shows of 500 units has 200 KiB. In a container it is another program, which may print anything."""

MAX_UNIT_VALUE = 4096
"""Characters of a setting of a unit: the command line of an epmd has 100."""

MAX_UNIT_VALUES = 32
"""Values of one setting, and units that run an epmd: MAX_LISTEN_SOCKETS of epmd_srv.c is 16."""

MAX_CHILD_RESULT = 1 << 24
"""A full table of epmd is 1 MiB, and a result has it a few times."""

MAX_AT_ONCE = 16
"""Nodes that are worked on at the same time: each takes a child process, with its memory and sockets."""

MAX_SWEPT_AT_ONCE = 1024
"""Epmds that are asked at the same time: with 40 ms for each, 25,000 a second."""

MAX_LOOKUPS = 32
"""Names that are looked up at the same time: each takes a thread, since the system's resolver blocks."""

SPARE_DESCRIPTORS = 3 * MAX_LOOKUPS
"""What is left for others when very many epmds are asked: the resolver, the log, the files of Ansible."""

MAX_STATE_FILE = 1 << 28
"""What is known of a watched host has 200 bytes, and a hundred thousand of them 20 MiB."""

# What is shown to a person, in characters.

MAX_SENTENCE = 4000
"""The longest honest sentence lists the nodes of a host: a hundred names of 40 characters."""

MAX_SHOWN_COMMAND = 160
"""Two lines of a terminal: the start of a command line tells which process it is."""

MAX_SHOWN_OUTPUT = 4096
"""The start of what a program says before it fails; in bytes."""

# Waits, in seconds.

MAX_TIMEOUT = 3600
"""The longest timeout that a user can set, for one node."""

HANG_UP_SECONDS = 0.25
"""How long a peer has to notice that we hung up. One that hangs takes longer, and is not waited for."""

KILL_SECONDS = 1
"""How long the kernel has to end a child that was killed. One that waits for a file system that hangs takes longer."""

FORGET_SECONDS = 0.5
"""How long a node has to forget a dead socket after it was told to; measured: 7 ms."""

FORGET_ATTEMPTS = 2
"""How often a node is told to. OTP 23.3 and newer try again 2 s after they lost a socket, and may get ahead of us."""

MOMENT_SECONDS = 1
"""How long an unlikely port has to answer as a node; a node in good health takes 2 ms."""

MARGIN_SECONDS = 5
"""What a child has beyond the time for its node."""

ANSWER_SECONDS = 5
"""How long an epmd that is asked over the network has, unless the user says otherwise: two lost packets."""

AGAIN_SECONDS = 0.1
"""The first pause before an epmd is asked again that hung up; each further one is twice as long."""

MAX_ATTEMPTS = 4
"""How often it is asked: an epmd that has no descriptor left hangs up on all, for a moment."""

SPREAD_SECONDS = 0.1
"""Over which the first of very many questions are spread, so that they do not leave in one burst."""

ADDRESS_SECONDS = 300
"""How long the addresses of a watched host are kept, while it answers."""

PROBE_SECONDS = 1
"""How long the port of a node whose name is lost has to accept a connection."""

SOON_SECONDS = 1
"""The shortest pause between two questions to a watched epmd, and how often the list of hosts is looked at."""

SILENCE = 8
"""A watched host that does not answer is asked less and less often: at last after this many intervals."""

RECOVERY_SECONDS = 300
"""How long the playbook recover has for one host, until a person is called."""

FORGOTTEN_SECONDS = 86400
"""How long a name that nobody expects is remembered after it went."""

SAVE_SECONDS = 5
"""How old a change can get before it is in the state file."""

KERNEL_SECONDS = 5
"""The kernel answers at once; this is for one that is broken."""

CLEAN_UP_SECONDS = 2
"""How long to look for the reason of a failure, and to put back what was begun, beyond the time for a node."""
