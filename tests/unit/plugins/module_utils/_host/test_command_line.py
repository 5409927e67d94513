# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines of Erlang VMs as they are found on real hosts."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import command_line
from ansible_collections.beamops.epmd.plugins.module_utils._host.command_line import CommandLine

SECRET = "SECRETCOOKIE"

ERTS = "/usr/lib/erlang/erts-13.1.5/bin"
START = f"{ERTS}/beam.smp -- -root /usr/lib/erlang -bindir {ERTS} -progname erl -- -home /root --"

ERL = f"{START} -sname vic"
EJABBERD = (
    f"{ERTS}/beam.smp -K true -P 250000 -- -root /usr/lib/erlang -bindir {ERTS} -progname erl -- "
    "-home /var/lib/ejabberd -- -sname ejabberd@localhost -smp auto -pa /usr/lib/ejabberd/ebin "
    '-mnesia dir "/var/lib/ejabberd" -ejabberd log_rate_limit 200 -s ejabberd start -noshell -noinput'
)
RABBITMQ = (
    f"{ERTS}/beam.smp -W w -MBas ageffcbf -MHas ageffcbf -P 1048576 -t 5000000 -stbt db -zdbbl 128000 -sbwt none "
    f"-- -root /usr/lib/erlang -bindir {ERTS} -progname erl -- -home /var/lib/rabbitmq -- "
    "-pa  -noshell -noinput -s rabbit boot -boot start_sasl -syslog logger [] -syslog syslog_error_logger false "
    "-kernel prevent_overlapping_partitions false"
)
RELEASE = (
    "/srv/app/erts-13.1.5/bin/beam.smp -- -root /srv/app -bindir /srv/app/erts-13.1.5/bin -progname erl -- "
    f"-home /srv/app -- -noshell -s elixir start_cli -mode embedded -setcookie {SECRET} -name app@10.0.0.5 "
    "-config /srv/app/tmp/app.runtime -boot /srv/app/releases/0.1.0/start -boot_var RELEASE_LIB /srv/app/lib "
    "-- -extra --no-halt"
)


def parse(line: str, **environment: str) -> CommandLine:
    return command_line.parse(line.split(" "), environment)


def flags(more: str, **environment: str) -> CommandLine:
    return parse(f"{ERL} {more}", **environment)


def test_erl_sname() -> None:
    assert parse(ERL) == CommandLine(
        name="vic",
        cookie=None,
        cookie_source="",
        home="/root",
        config_home=None,
        release_root=None,
        bindir=ERTS,
        epmd_port=None,
        without_epmd="",
        erl_epmd_port=None,
        starts_epmd=True,
        epmd_environment={},
        silent="",
        hidden=False,
        inet6=False,
        tls=False,
        is_protocol_sure=True,
        tls_optfile=None,
        tls_options={},
        listen_range=None,
    )


@pytest.mark.parametrize(
    ("more", "flag"),
    [
        ("-no_epmd", "-no_epmd"),
        ("-epmd_module my_epmd", "-epmd_module my_epmd"),
        ("-epmd_module erl_epmd", ""),
        ("-kernel epmd_module my_epmd", "-epmd_module my_epmd"),
        ("-epmd_module one -kernel epmd_module two", "-epmd_module one"),
        ("-proto_dist nopmd_inet_tcp", "-proto_dist nopmd_inet_tcp"),
        ("-proto_dist inet_tcp", ""),
        ("-proto_dist inet6_tcp", ""),
        ("-proto_dist inet_tls", ""),
        ("-proto_dist inet6_tls", ""),
        ("-start_epmd false", ""),
    ],
)
def test_a_node_that_may_use_no_epmd_has_a_flag(more: str, flag: str) -> None:
    assert flags(more).without_epmd == flag


def test_what_is_a_flag_may_be_a_parameter_of_kernel() -> None:
    assert flags("-kernel erl_epmd_node_listen_port 4711").erl_epmd_port == "4711"
    assert flags("-erl_epmd_port 1 -kernel erl_epmd_node_listen_port 2").erl_epmd_port == "1"


def test_a_node_that_a_release_starts_does_not_have_its_cookie() -> None:
    inherited = {"RELEASE_COOKIE": SECRET, "RELEASE_NODE": "app@web1", "RELEASE_ROOT": "/srv/app"}
    assert parse("/x/beam.smp -- -sname app", **inherited).cookie == SECRET
    assert parse("/x/beam.smp -- -sname app", **inherited).release_root == "/srv/app"
    for other in ("other", "zoe", "ap", "apps"):
        assert parse(f"/x/beam.smp -- -sname {other}", **inherited).cookie is None
    assert parse("/x/beam.smp -- -sname other", **inherited).release_root is None


def test_a_release_with_a_cookie_on_its_command_line_has_none_in_its_directory() -> None:
    own = {"RELEASE_NODE": "app@web1", "RELEASE_ROOT": "/srv/app"}
    for cookies in ("-setcookie a", "-setcookie a -setcookie b", "-setcookie"):
        assert parse(f"/x/beam.smp -- -sname app {cookies}", **own).release_root is None
    assert parse("/x/beam.smp -- -sname app -setcookie b@web1 b", **own).release_root == "/srv/app"


def test_tls() -> None:
    line = parse(
        "/x/beam.smp -- -sname vic -proto_dist inet6_tls -ssl_dist_optfile /etc/tls.conf "
        "-ssl_dist_opt server_certfile a.pem client_certfile b.pem -ssl_dist_opt client_keyfile c.pem"
    )
    assert (line.tls, line.inet6, line.tls_optfile) == (True, True, "/etc/tls.conf")
    assert line.tls_options == {"server_certfile": "a.pem", "client_certfile": "b.pem", "client_keyfile": "c.pem"}


def test_a_name_that_is_not_utf_8_is_latin_1() -> None:
    assert parse("/x/beam.smp -- -sname n\udce9").name == "n\u00e9"
    assert "\udce9" not in command_line.shown(["-sname", "n\udce9"])


def test_ejabberd() -> None:
    line = parse(EJABBERD, HOME="/root")
    assert (line.name, line.home, line.cookie) == ("ejabberd@localhost", "/var/lib/ejabberd", None)


def test_rabbitmq_has_no_name_on_its_command_line() -> None:
    line = parse(RABBITMQ, RABBITMQ_NODENAME="rabbit@web1")
    assert (line.name, line.home, line.silent) == (None, "/var/lib/rabbitmq", "")


def test_an_elixir_release() -> None:
    line = parse(RELEASE, RELEASE_COOKIE="OTHER", RELEASE_NODE="app")
    assert (line.name, line.cookie, line.bindir) == ("app@10.0.0.5", SECRET, "/srv/app/erts-13.1.5/bin")


def test_a_hidden_command_line_says_nothing() -> None:
    for arguments in ([], ["beam.smp"], ["beam.smp", "--"], ["beam.smp", ""]):
        line = command_line.parse(arguments, {})
        assert (line.name, line.cookie, line.home, line.silent) == (None, None, None, "")
        assert not line.is_protocol_sure


def test_flags_of_the_emulator_and_of_the_application_are_not_those_of_the_node() -> None:
    line = parse(f"beam.smp -name em -hidden {START.partition(' ')[2]} -extra -sname x -setcookie {SECRET} --cookie y")
    assert (line.name, line.cookie, line.hidden) == (None, None, False)


def test_without_dashes_every_flag_is_one_of_the_node() -> None:
    assert command_line.parse(["beam.smp", "-sname", "vic", "-setcookie", SECRET], {}).name == "vic"


def test_the_first_of_several_values_counts() -> None:
    assert parse(f"{START} -sname vic wim -sname xan").name == "vic"


def test_the_name_of_the_program_is_not_a_flag() -> None:
    assert command_line.parse(["-sname", "vic"], {}).name is None


def test_a_value_ends_at_the_next_flag_or_dashes() -> None:
    assert parse(f"{START} -sname -- vic").name is None
    assert parse(f"{START} -sname -noshell vic").name is None
    assert parse(f"{START} -sname - vic").name is None  # a flag with an empty name, as init:get_arguments() says
    assert parse(f"{START} -name vic@web1.example.org").name == "vic@web1.example.org"


@pytest.mark.parametrize(
    ("more", "environment", "cookie"),
    [
        (f"-setcookie {SECRET}", {}, SECRET),
        ("", {}, None),
        ("-setcookie", {}, None),
        (f"-setcookie {SECRET} -setcookie {SECRET}", {}, None),
        (f"-setcookie {SECRET} -setcookie", {}, None),
        ("-setcookie other@web1 OTHER", {}, None),
        (f"-setcookie other@web1 OTHER -setcookie {SECRET}", {}, SECRET),
        (f"-setcookie {SECRET} -setcookie other@web1 OTHER -setcookie b@web1 B", {}, SECRET),
        ("-setcookie a b c", {}, None),
        (f"-setcookie {SECRET} -setcookie a b c", {}, SECRET),
        ("", {"RELEASE_COOKIE": SECRET, "RELEASE_NODE": "vic"}, SECRET),
        ("", {"RELEASE_COOKIE": SECRET}, None),
        ("", {"RELEASE_COOKIE": "", "RELEASE_NODE": "vic"}, None),
        (f"-setcookie {SECRET}", {"RELEASE_COOKIE": "OTHER", "RELEASE_NODE": "vic"}, SECRET),
        (f"-setcookie {SECRET} -setcookie {SECRET}", {"RELEASE_COOKIE": "OTHER", "RELEASE_NODE": "vic"}, None),
        (f"-extra --cookie {SECRET}", {}, None),
    ],
)
def test_the_cookie_is_the_one_that_auth_erl_takes(more: str, environment: dict[str, str], cookie: str | None) -> None:
    line = flags(more, **environment)
    assert line.cookie == cookie
    assert bool(line.cookie_source) == (cookie is not None)
    assert SECRET not in line.cookie_source


def test_the_cookie_is_not_in_the_repr_of_a_command_line() -> None:
    assert SECRET not in repr(flags(f"-setcookie {SECRET}"))
    assert SECRET not in repr(flags("", RELEASE_COOKIE=SECRET, RELEASE_NODE="vic"))


@pytest.mark.parametrize(
    ("more", "environment", "port"),
    [
        ("-epmd_port 4370", {}, 4370),
        ("-epmd_port 1", {}, 1),
        ("-epmd_port 65535", {}, 65535),
        ("-epmd_port 0", {}, None),
        ("-epmd_port 65537", {}, None),
        ("-epmd_port 65536", {}, None),
        ("-epmd_port -1", {}, None),
        ("-epmd_port", {}, None),
        ("-epmd_port x", {}, None),
        ("", {"ERL_EPMD_PORT": "4371"}, 4371),
        ("", {"ERL_EPMD_PORT": ""}, None),
        ("", {"ERL_EPMD_PORT": "43 71"}, None),
        ("", {"ERL_EPMD_PORT": "\u00b2"}, None),
        ("", {"ERL_EPMD_PORT": "9" * 5000}, None),
        ("-epmd_port 4370", {"ERL_EPMD_PORT": "4371"}, 4370),
    ],
)
def test_the_port_of_epmd(more: str, environment: dict[str, str], port: int | None) -> None:
    assert flags(more, **environment).epmd_port == port


@pytest.mark.parametrize(
    ("more", "range_"),
    [
        ("", None),
        ("-kernel inet_dist_listen_min 9100 inet_dist_listen_max 9105", (9100, 9105)),
        ("-kernel inet_dist_listen_min 25672 -kernel inet_dist_listen_max 25672", (25672, 25672)),
        ("-kernel inet_dist_listen_max 9105 inet_dist_listen_min 9100", (9100, 9105)),
        ("-kernel inet_dist_listen_min 9100", (9100, 9100)),
        ("-kernel inet_dist_listen_max 9105", None),
        ("-kernel inet_dist_listen_min 0 inet_dist_listen_max 0", None),
        ("-kernel inet_dist_listen_min", None),
        ("-kernel inet_dist_listen_min x", None),
        ("-kernel shell_history enabled inet_dist_listen_min 1 inet_dist_listen_max 65535", (1, 65535)),
        ("-other inet_dist_listen_min 9100", None),
        # Of several flags the first counts, inside one the last value.
        ("-kernel inet_dist_listen_min 1 inet_dist_listen_max 2 -kernel inet_dist_listen_min 3", (1, 2)),
        ("-kernel inet_dist_listen_min 1 inet_dist_listen_min 3 inet_dist_listen_max 4", (3, 4)),
    ],
)
def test_the_range_of_ports_to_listen_on(more: str, range_: tuple[int, int] | None) -> None:
    assert flags(more).listen_range == range_


@pytest.mark.parametrize(
    ("more", "inet6", "tls", "sure"),
    [
        ("", False, False, True),
        ("-proto_dist inet_tcp", False, False, True),
        ("-proto_dist inet6_tcp", True, False, True),
        ("-proto_dist inet_tls", False, True, True),
        ("-proto_dist inet6_tls", True, True, True),
        ("-proto_dist", False, False, True),
        ("-proto_dist inet_tls -proto_dist inet_tls", False, True, False),
        ("-proto_dist inet_tcp -proto_dist inet_tcp -proto_dist inet_tcp", False, False, False),
        ("-proto_dist my", False, False, False),
        ("-proto_dist my_tls", False, True, False),
        ("-proto_dist my -ssl_dist_optfile /x", False, True, False),
        ("-proto_dist my -ssl_dist_opt server_certfile /x", False, True, False),
        ("-ssl_dist_optfile /x", False, False, True),
    ],
)
def test_the_protocol_of_the_distribution(more: str, inet6: bool, tls: bool, sure: bool) -> None:
    line = flags(more)
    assert (line.inet6, line.tls, line.is_protocol_sure) == (inet6, tls, sure)


def test_the_protocol_of_a_node_without_a_name_is_only_told_by_its_own_flag() -> None:
    assert not parse(START).is_protocol_sure
    assert parse(f"{START} -proto_dist inet_tls").is_protocol_sure


@pytest.mark.parametrize(("more", "starts"), [("", True), ("-start_epmd true", True), ("-start_epmd false", False)])
def test_whether_a_node_starts_an_epmd(more: str, starts: bool) -> None:
    assert flags(more).starts_epmd is starts


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        (ERL, ""),
        (f"{ERL} -dist_listen true", ""),
        (f"{ERL} -dist_listen false", "-dist_listen false"),
        (f"{START} -sname undefined", "-sname undefined"),
        (f"{START} -name undefined", "-sname undefined"),
        (f"{START} -name undefined@web1", "-sname undefined"),
        (f"{START} -name undefined1@web1", ""),
        (f"{START} -name app@web1", ""),
    ],
)
def test_a_node_that_may_listen_nowhere_has_a_flag(line: str, flag: str) -> None:
    assert parse(line).silent == flag


@pytest.mark.parametrize(
    ("more", "hidden"),
    [("", False), ("-hidden", True), ("-hidden true", True), ("-hidden false", False), ("-hidden -hidden false", True)],
)
def test_a_hidden_node_is_known_by_its_flag(more: str, hidden: bool) -> None:
    assert flags(more).hidden is hidden


def test_other_flags_about_epmd() -> None:
    line = flags("-epmd_module my_epmd -erl_epmd_port 9100", ERL_EPMD_ADDRESS="127.0.0.1", ERL_EPMD_PORT="4", PATH="/")
    assert (line.without_epmd, line.erl_epmd_port) == ("-epmd_module my_epmd", "9100")
    assert line.epmd_environment == {"ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": "4"}


def test_the_environment_helps_where_the_command_line_is_silent() -> None:
    line = command_line.parse(["beam.smp"], {"HOME": "/h", "BINDIR": "/b", "XDG_CONFIG_HOME": "/x"})
    assert (line.home, line.bindir, line.config_home) == ("/h", "/b", "/x")
    assert parse(ERL, HOME="/h", BINDIR="/b").home == "/root"
    assert parse(ERL, HOME="/h", BINDIR="/b").bindir == ERTS


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["erl"], "erl"),
        (["erl", "-setcookie", SECRET], "erl -setcookie ***"),
        (["erl", "-setcookie", SECRET, "-sname", "vic"], "erl -setcookie *** -sname vic"),
        (["erl", "-setcookie", "b@web1", SECRET, "-noshell"], "erl -setcookie *** *** -noshell"),
        (["erl", "-setcookie", SECRET, "-setcookie", SECRET], "erl -setcookie *** -setcookie ***"),
        (["elixir", "--cookie", SECRET, "--sname", "vic"], "elixir --cookie *** --sname vic"),
        (["rabbitmqctl", "--erlang-cookie", SECRET, "status"], "rabbitmqctl --erlang-cookie *** ***"),
        (["rabbitmqctl", f"--erlang-cookie={SECRET}", "status"], "rabbitmqctl --erlang-cookie=*** status"),
        (["env", f"RELEASE_COOKIE={SECRET}", "bin/web", "start"], "env RELEASE_COOKIE=*** bin/web start"),
        (["/usr/bin/erl_call", "-c", SECRET, "-n", "vic"], "/usr/bin/erl_call -c *** -n vic"),
        (["/usr/bin/erl_call", "-a", "x", "-c", SECRET], "/usr/bin/erl_call -a x -c ***"),
        (["sh", "-c", "exec erl -noshell"], "sh -c exec erl -noshell"),
        (["erl", "-sname", "vic", "-setcookie"], "erl -sname vic -setcookie"),
        ([], ""),
    ],
)
def test_a_command_line_is_shown_with_its_cookie_blanked(arguments: list[str], shown: str) -> None:
    assert command_line.shown(arguments) == shown


@pytest.mark.parametrize(
    "arguments",
    [
        RELEASE.split(" "),
        ["beam.smp", "--", "-extra", "--erl", f"-setcookie {SECRET}", "-S", "mix"],
        ["beam.smp", "--", "-extra", "--erl", f"-sname a -setcookie  {SECRET}"],
        ["beam.smp", "--", "-extra", "--erl", f"-setcookie b@web1 {SECRET}"],
        ["sh", "-c", f"exec erl -sname vic -setcookie {SECRET} -noshell"],
        ["su", "ejabberd", "-c", f"elixir --cookie {SECRET}"],
        ["sh", "-c", f"erl -setcookie '{SECRET}'"],
        ["sh", "-c", f"erl\n-setcookie\n{SECRET}"],
    ],
    ids=lambda arguments: " ".join(arguments)[-50:],
)
def test_a_command_line_that_is_shown_never_leaks_a_cookie(arguments: list[str]) -> None:
    assert SECRET not in command_line.shown(arguments, limit=10_000)


@pytest.mark.parametrize(("size", "length"), [(159, 159), (160, 160), (161, 160), (5000, 160)])
def test_a_command_line_is_shown_up_to_a_limit(size: int, length: int) -> None:
    shown = command_line.shown(["x" * size])
    assert len(shown) == length
    assert shown.endswith("...") == (size > 160)
