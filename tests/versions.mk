# Every version that is tested, and nowhere else: read by the Makefile (GNU make's `NAME = WORDS`), by the workflow of the
# CI and the scripts of tests/toolchain (through tests/toolchain/versions), and by tests/unit/test_versions.py, which sees
# that the documentation promises no other.
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ansible-core on the controller; the newest of each minor version.
cores = 2.17.14 2.18.19 2.19.14 2.20.10 2.21.5
# CPython on the target.
pythons = 3.7 3.8 3.9 3.10 3.11 3.12 3.13 3.14
# Erlang/OTP, as in the suites of Debian.
otps = 23 25 27 29

# What `make test` takes of them: the oldest and the newest; of Erlang one between, too.
few_cores = 2.17.14 2.21.5
few_pythons = 3.7 3.13
few_otps = 23 25 27
# Whose Debian is booted, for the tests of systemd.
booted_otps = 25
