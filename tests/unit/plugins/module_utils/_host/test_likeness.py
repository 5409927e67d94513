# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flags and environment of a scratch node. That an Erlang takes them is shown on real ones."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import likeness
from ansible_collections.beamops.epmd.plugins.module_utils._host.likeness import Wanted

WANTED = Wanted("rehearse_1@web1", 40123, "rehearse", 600, False, False)
ERL = ["/usr/lib/erlang/erts-13/bin/beam.smp", "--", "-root", "/usr/lib/erlang", "-progname", "erl", "--"]


def value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("a", "-sname"),
        ("a@web1", "-sname"),
        ("a@web1.example.org", "-name"),
        ("a@127.0.0.1", "-name"),
        ("a@::1", "-name"),
    ],
)
def test_its_name_is_short_or_long_as_that_of_the_other_node(name: str, flag: str) -> None:
    assert value(likeness.flags(ERL, WANTED._replace(name=name), "b"), flag) == name


def test_it_listens_on_loopback_of_its_family_and_connects_to_nobody() -> None:
    words = " ".join(likeness.flags(ERL, WANTED, "b"))
    assert "inet_dist_use_interface {127,0,0,1} dist_auto_connect never" in words
    assert "-hidden -connect_all false -start_epmd false" in words
    over_ipv6 = " ".join(likeness.flags(ERL, WANTED._replace(inet6=True), "b"))
    assert "inet_dist_use_interface {0,0,0,0,0,0,0,1}" in over_ipv6


def test_of_the_other_flags_only_boot_variables_and_tls_are_taken_over() -> None:
    others = [
        "-setcookie",
        "inet_tls",  # which is also the name of a distribution
        "-args",
        "inet_tcp",
        "secret",
        "-sname",
        "rabbit",
        "-eval",
        "boom().",
        "-boot",
        "/rel/start",
        "-s",
        "app",
        "-hidden",
    ]
    kept = ["-boot_var", "RELEASE_LIB", "/rel/lib", "-proto_dist", "inet_tls", "-ssl_dist_optfile", "/etc/ssl.conf"]
    words = likeness.flags([*ERL, *others, *kept, "-ssl_dist_opt", "server_certfile", "/a"], WANTED, "/rel/start_clean")
    assert "secret" not in " ".join(words)
    assert not {"-setcookie", "rabbit", "boom().", "app"} & set(words)
    assert words.count("-boot") == 1
    assert [word for word in words if word in kept] == kept
    assert value(words, "-ssl_dist_opt") == "server_certfile"
    first = likeness.flags(["beam.smp", "-proto_dist", "inet6_tls", "more"], WANTED, "b")
    assert value(first, "-proto_dist") == "inet6_tls"


def test_it_ends_by_itself_after_its_lifetime() -> None:
    program = value(likeness.flags(ERL, WANTED._replace(lifetime=601), "b"), "-eval")
    assert "receive after 601000 -> ok end" in program
    assert 'Name =/= "rehearse_1"' in program
    assert "gen_tcp:connect(Loopback, 40123," in program


def test_a_distribution_of_somebody_s_own_is_not_taken_over() -> None:
    assert "-proto_dist" not in likeness.flags([*ERL, "-proto_dist", "couch"], WANTED, "b")


@pytest.mark.parametrize("loads", [False, True])
def test_it_reads_no_cookie_file_where_the_cookie_is_given_otherwise(loads: bool) -> None:
    words = likeness.flags(ERL, WANTED._replace(loads_cookie=loads), "b")
    assert ("-nocookie" in words) == loads
    assert ("RELEASE_COOKIE" in value(words, "-eval")) == loads


def test_what_would_make_it_the_other_node_is_left_out_of_its_environment() -> None:
    theirs = {
        "HOME": "/var/lib/rabbitmq",
        "LD_LIBRARY_PATH": "/opt/lib",
        "ERL_FLAGS": "-sname rabbit",
        "ERL_AFLAGS": "x",
        "ERL_ZFLAGS": "x",
        "ERL_OTP25_FLAGS": "x",
        "ERL_EPMD_ADDRESS": "0.0.0.0",
        "ERL_CRASH_DUMP": "/var/log/dump",
        "RELEASE_COOKIE": "secret",
        "RELEASE_NODE": "rabbit",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "1",
        "LISTEN_FDS": "1",
    }
    assert likeness.environment(theirs, WANTED, ROOTDIR="/usr/lib/erlang") == {
        "HOME": "/var/lib/rabbitmq",
        "LD_LIBRARY_PATH": "/opt/lib",
        "ROOTDIR": "/usr/lib/erlang",
        "ERL_CRASH_DUMP_SECONDS": "0",
        "ERL_EPMD_SCRATCH": "rehearse",
        "ERL_EPMD_PORT": "40123",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
    }


def test_where_its_erlang_and_a_boot_file_may_be() -> None:
    assert likeness.root_of(ERL, "/other/erts-13/bin") == "/usr/lib/erlang"
    # Flags whose names come before and after it in the alphabet, and one without a value.
    others = ["beam.smp", "-progname", "/erl", "-sname", "/vic", "-root"]
    assert likeness.root_of(others, "/opt/otp/erts-13/bin") == "/opt/otp"
    assert likeness.root_of([*others, "/first", "/more", "-root", "/second"], "/opt/otp/erts-13/bin") == "/first"
    assert likeness.boot_directories([*ERL, "-boot", "start_sasl"], "/r") == ["/r/bin"]
    assert likeness.boot_directories(["beam.smp", "-boot", "/rel/releases/1/start", "/more"], "/r") == [
        "/rel/releases/1",
        "/r/bin",
    ]
    assert likeness.boot_directories([*ERL, "-args_file", "/a/b", "-boot", "-config", "/c/d"], "/r") == ["/r/bin"]
