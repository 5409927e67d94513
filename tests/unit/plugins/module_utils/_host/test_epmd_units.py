# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit of an epmd is found by what it runs, and is never wider than the epmd of the node itself."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import epmd_units
from ansible_collections.beamops.epmd.plugins.module_utils._host.epmd_units import Unit


def show(*units: str) -> str:
    """Blocks are parted by an empty line, and the last one ends with a line end."""
    return "\n".join(units)


def socket(
    *listens: str, state: str = "enabled", load: str = "loaded", active: str = "inactive", more: str = ""
) -> str:
    lines = "".join(f"Listen={listen}\n" for listen in listens)
    return f"{lines}{more}Environment=\nId=epmd.socket\nLoadState={load}\nActiveState={active}\nUnitFileState={state}\n"


def service(
    command: str = "/usr/bin/epmd -systemd",
    *,
    name: str = "epmd.service",
    by: str = "epmd.socket",
    state: str = "enabled",
    load: str = "loaded",
    active: str = "inactive",
    more: str = "",
) -> str:
    return (
        f"ExecStart={{ path={command.partition(' ')[0]} ; argv[]={command} ; ignore_errors=no ; start_time=[n/a] ; "
        f"stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }}\nTriggeredBy={by}\n{more}Id={name}\n"
        f"LoadState={load}\nActiveState={active}\nUnitFileState={state}\n"
    )


def alone(command: str = "/usr/bin/epmd", *, more: str = "", name: str = "epmd.service", state: str = "enabled") -> str:
    return service(command, name=name, by="", more=more, state=state)


DEBIAN = show(socket("[::]:4369 (Stream)"), service())
FEDORA = show(socket("127.0.0.1:4369 (Stream)"), service())
LOOPBACKS = show(socket("127.0.0.1:4369 (Stream)", "[::1]:4369 (Stream)"), service())
RABBIT = alone(name="rabbitmq-epmd.service")
NARROW = "Environment=ERL_EPMD_ADDRESS=127.0.0.1\n"
PORT = 'Environment="A=b c" ERL_EPMD_PORT=4370\n'
EPMD = "epmd.service"
FOUR, SIX = "127.0.0.1", "::1"


@pytest.mark.parametrize(
    ("shown", "port", "asked", "own", "name"),
    [
        pytest.param(DEBIAN, 4369, FOUR, "", EPMD, id="Debian"),
        pytest.param(DEBIAN, 4369, SIX, "", EPMD, id="Debian, IPv6"),
        pytest.param(DEBIAN, 4370, FOUR, "", None, id="Debian, other port"),
        pytest.param(DEBIAN, 4369, FOUR, "127.0.0.1", None, id="Debian, wider than the node"),
        pytest.param(DEBIAN, 4369, FOUR, "10.0.0.1", None, id="Debian, wider than the node with an address"),
        pytest.param(DEBIAN, 4369, FOUR, "0.0.0.0", None, id="Debian, wider than all of IPv4"),
        pytest.param(DEBIAN, 4369, FOUR, "0.0.0.0,::", EPMD, id="Debian, as wide as the node"),
        pytest.param(DEBIAN, 4369, FOUR, " , ", EPMD, id="Debian, a node without an address"),
        pytest.param(FEDORA, 4369, FOUR, "", EPMD, id="Fedora"),
        pytest.param(FEDORA, 4369, FOUR, "127.0.0.1", EPMD, id="Fedora, as wide as the node"),
        pytest.param(FEDORA, 4369, SIX, "", None, id="Fedora, where the node does not ask"),
        pytest.param(LOOPBACKS, 4369, SIX, "10.0.0.1", EPMD, id="both loopbacks are always open"),
        pytest.param(alone(), 4369, SIX, "", EPMD, id="without a socket"),
        pytest.param(alone(), 4369, FOUR, "127.0.0.1", None, id="without a socket, wider than the node"),
        pytest.param(alone(more=NARROW), 4369, FOUR, "127.0.0.1", EPMD, id="its address in the environment"),
        pytest.param(alone(more=NARROW), 4369, FOUR, "", EPMD, id="narrower than the node"),
        pytest.param(alone("/usr/bin/epmd -address 127.0.0.1"), 4369, SIX, "127.0.0.1", EPMD, id="-address"),
        pytest.param(alone("/usr/bin/epmd -address 10.0.0.1"), 4369, FOUR, "127.0.0.1", None, id="-address, wider"),
        pytest.param(alone(more="EnvironmentFiles=/etc/x (ignore_errors=yes)\n"), 4369, FOUR, "", None, id="a file"),
        pytest.param(alone(more="PrivateNetwork=yes\n"), 4369, FOUR, "", None, id="a network of its own"),
        pytest.param(alone(more="NetworkNamespacePath=/run/netns/x\n"), 4369, FOUR, "", None, id="another network"),
        pytest.param(alone("/usr/bin/epmd -port 04370 -daemon"), 4370, FOUR, "", EPMD, id="-port"),
        pytest.param(alone("/usr/bin/epmd -port 4370"), 4369, FOUR, "", None, id="-port, default port"),
        pytest.param(alone(f"/usr/bin/epmd -port {'4' * 5000}"), 4369, FOUR, "", None, id="a long -port"),
        pytest.param(alone("/usr/bin/epmd -port 4371", more=PORT), 4371, FOUR, "", EPMD, id="-port counts more"),
        pytest.param(alone(more=PORT), 4370, FOUR, "", EPMD, id="its port in the environment"),
        pytest.param(alone(more='Environment="A=\n'), 4369, FOUR, "", EPMD, id="an environment that is cut"),
        pytest.param(RABBIT, 4369, FOUR, "", "rabbitmq-epmd.service", id="another name"),
        pytest.param(show(RABBIT, alone()), 4369, FOUR, "", EPMD, id="the usual name comes first"),
        pytest.param(
            show(alone("/usr/bin/epmd -port 4370", name="a.service"), alone(name="z.service"), alone()),
            4369,
            FOUR,
            "",
            EPMD,
            id="another name that comes before it",
        ),
        pytest.param(
            show(socket("127.0.0.1:4369 (Stream)"), service(name="rabbitmq-epmd.service")),
            4369,
            FOUR,
            "127.0.0.1",
            "rabbitmq-epmd.service",
            id="another name, with a socket",
        ),
        pytest.param(alone("/usr/bin/epmd -Address 1"), 4369, FOUR, "", None, id="an argument that is not known"),
        pytest.param(alone("/usr/bin/epmd -systems"), 4369, FOUR, "", None, id="another one"),
        pytest.param(alone("/usr/bin/epmd -relaxed_command_check -d"), 4369, FOUR, "", EPMD, id="others that are"),
        pytest.param(alone("/bin/sh start epmd"), 4369, FOUR, "", None, id="a script that is told a name"),
        pytest.param(alone("/usr/bin/epmd -port 1"), 1, FOUR, "", EPMD, id="-port 1"),
        pytest.param(
            show(socket("[::]:4369 (Stream)"), service("/usr/bin/epmd -systems", name="x.service")),
            4369,
            FOUR,
            "",
            None,
            id="a word that comes after -systemd",
        ),
        pytest.param(alone("/usr/bin/epmd -port 0"), 4369, FOUR, "", None, id="-port 0"),
        pytest.param(alone("/usr/bin/epmd -port 65536"), 65536, FOUR, "", None, id="-port 65536"),
        pytest.param(alone("/usr/bin/epmd -port 70000"), 70000, FOUR, "", None, id="-port 70000"),
        pytest.param(alone("/usr/bin/epmd -port 65535"), 65535, FOUR, "", EPMD, id="-port 65535"),
        pytest.param(alone("/bin/sh -c exec epmd"), 4369, FOUR, "", EPMD, id="through a shell"),
        pytest.param(alone("/usr/bin/env epmd -daemon"), 4369, FOUR, "", EPMD, id="through env"),
        pytest.param(alone("/bin/sh -c epmd -daemon; exec erl"), 4369, FOUR, "", None, id="with a node"),
        pytest.param(alone("/etc/init.d/epmd start"), 4369, FOUR, "", None, id="a script"),
        pytest.param(alone("/usr/bin/epmd -names"), 4369, FOUR, "", None, id="a client"),
        pytest.param(alone("/usr/bin/beam epmd"), 4369, FOUR, "", None, id="another program"),
        pytest.param(
            show(socket("127.0.0.1:4370 (Stream)"), service("/opt/start-epmd")),
            4370,
            FOUR,
            "127.0.0.1",
            EPMD,
            id="a script, sockets",
        ),
        pytest.param(alone(state="disabled"), 4369, FOUR, "", None, id="disabled"),
        pytest.param(alone(state="enabled-runtime"), 4369, FOUR, "", EPMD, id="enabled until the next boot"),
        pytest.param(
            show(socket("[::]:4369 (Stream)"), service(state="static")), 4369, FOUR, "", EPMD, id="socket enabled"
        ),
        pytest.param(
            show(socket("[::]:4369 (Stream)", state="disabled"), service(state="disabled", active="active")),
            4369,
            FOUR,
            "",
            EPMD,
            id="disabled and active",
        ),
        pytest.param(
            show(socket("[::]:4369 (Stream)", active="active"), service()),
            4369,
            FOUR,
            "127.0.0.1",
            EPMD,
            id="what is open already",
        ),
        pytest.param(show(socket(load="masked"), service()), 4369, FOUR, "", None, id="socket masked"),
        pytest.param(
            show(socket("[::]:4369 (Stream)"), service(load="masked")), 4369, FOUR, "", None, id="service masked"
        ),
        pytest.param(
            show(socket("[::]:4369 (Stream)", load="bad-setting"), service()), 4369, FOUR, "", None, id="bad setting"
        ),
        pytest.param(socket("[::]:4369 (Stream)"), 4369, FOUR, "", None, id="socket alone"),
        pytest.param(service(), 4369, FOUR, "", None, id="without the socket that it needs"),
        pytest.param(
            show(socket("127.0.0.1:4370 (Stream)", "127.0.0.1:4369 (Stream)"), service()),
            4369,
            FOUR,
            "",
            None,
            id="two ports",
        ),
        pytest.param(show(socket("[::]:4369 (Datagram)"), service()), 4369, FOUR, "", None, id="no stream"),
        pytest.param(show(socket("/run/epmd.sock (Stream)"), service()), 4369, FOUR, "", None, id="no port"),
        pytest.param(
            show(socket("[::]:4369 (Stream)", more="BindIPv6Only=ipv6-only\n"), service()),
            4369,
            FOUR,
            "",
            None,
            id="IPv6 only",
        ),
        pytest.param("", 4369, FOUR, "", None, id="nothing"),
        pytest.param("\n\n\n", 4369, FOUR, "", None, id="empty lines"),
        pytest.param("Id=epmd.service\n", 4369, FOUR, "", None, id="no state"),
        pytest.param("garbage", 4369, FOUR, "", None, id="garbage"),
    ],
)
def test_the_unit_that_is_right_for_a_node_is_chosen(
    shown: str, port: int, asked: str, own: str, name: str | None
) -> None:
    chosen = epmd_units.choose(epmd_units.parse(shown), port, asked, own)
    assert (chosen.name if chosen else None) == name


def test_the_usual_name_comes_first_and_the_others_in_the_order_of_the_alphabet() -> None:
    units = epmd_units.parse(show(*(alone(name=f"{name}.service") for name in ("z", "b", "epmd", "a", "f")))).epmds
    assert [unit.name for unit in units] == [EPMD, "a.service", "b.service", "f.service", "z.service"]


def test_a_unit_is_described_with_its_sockets() -> None:
    everywhere = frozenset({"0.0.0.0", "::"})
    shown = show(socket("[::]:4369 (Stream)", active="active", state="disabled"), service(state="disabled"))
    unit = Unit(EPMD, ("epmd.socket",), 4369, everywhere, True, False, True, inactive=("epmd.service",))
    found = epmd_units.parse(shown)
    assert [*found.epmds] == [unit]
    assert found.running == {"epmd.socket"}


def test_what_is_no_port_has_a_number_that_no_node_asks_for() -> None:
    (unit,) = epmd_units.parse(show(socket("/run/epmd.sock (Stream)"), service())).epmds
    assert (unit.port, unit.addresses) == (0, frozenset({"/run/epmd.sock (Stream)"}))


def test_every_unit_is_asked_for_and_those_that_are_not_loaded_by_name() -> None:
    listed = (
        "epmd.service disabled enabled\nepmd@.service indirect\n-x.service masked\nrabbitmq-epmd.service static\n\n"
    )
    command = epmd_units.show(listed)
    assert command[command.index("--") + 1 :] == [EPMD, "-x.service", "rabbitmq-epmd.service", "*.service", "*.socket"]


@pytest.mark.parametrize(
    ("shown", "port", "rivals"),
    [
        (DEBIAN, 4369, ["epmd.socket", EPMD]),
        (DEBIAN, 4368, []),
        (DEBIAN, 4370, []),
        ("", 4369, ["epmd.socket", EPMD]),
        (show(RABBIT, DEBIAN), 4369, ["epmd.socket", EPMD, "rabbitmq-epmd.service"]),
        (show(DEBIAN, "Id=app.service\nActiveState=active\n"), 4369, ["epmd.socket", EPMD]),
        (alone("/usr/bin/epmd -port 4368", name="a.service"), 4369, ["epmd.socket", EPMD]),
        (alone("/usr/bin/epmd -port 4370", name="a.service"), 4369, ["epmd.socket", EPMD]),
        (show(socket("[::]:4369 (Stream)", active="active"), service()), 4369, [EPMD]),
        (show(socket("[::]:4369 (Stream)", active="active"), service(active="active")), 4369, []),
        (show(socket("[::]:4369 (Stream)", load="masked"), service()), 4369, ["epmd.socket", EPMD]),
        # What can't be told of a unit that runs must not end it.
        (show(socket("[::]:1 (Stream)", "[::]:2 (Stream)", active="active"), service(active="active")), 4369, []),
    ],
)
def test_a_transient_unit_makes_room_for_what_may_be_started_later(shown: str, port: int, rivals: list[str]) -> None:
    assert epmd_units.rivals(epmd_units.parse(shown), port) == rivals


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        ("", {"0.0.0.0", "::"}),
        (" ,", {"0.0.0.0", "::"}),
        ("10.0.0.1, fe80:0::1", {"10.0.0.1", "fe80::1", "127.0.0.1", "::1"}),
        ("x", {"x", "127.0.0.1", "::1"}),
    ],
)
def test_epmd_always_listens_at_the_loopback_addresses(given: str, addresses: set[str]) -> None:
    assert epmd_units.listened(given) == addresses


@pytest.mark.parametrize(
    ("listening", "wished", "has_ipv6", "is_the_same"),
    [
        (["::"], ["0.0.0.0", "::"], True, True),  # a socket of both families
        (["0.0.0.0", "::"], ["0.0.0.0", "::"], True, True),
        (["0.0.0.0"], ["0.0.0.0", "::"], True, False),
        (["0.0.0.0"], ["0.0.0.0", "::"], False, True),
        (["127.0.0.1", "::1"], ["127.0.0.1", "::1"], True, True),
        (["127.0.0.1"], ["127.0.0.1", "::1"], True, False),
        (["127.0.0.1"], ["127.0.0.1", "::1"], False, True),
        (["127.0.0.1", "10.0.0.1"], ["127.0.0.1"], True, False),
        (["0.0.0.0", "::"], ["127.0.0.1"], True, False),
        (["127.0.0.1"], ["0.0.0.0", "::"], True, False),
    ],
)
def test_who_listens_where_another_is_to_listen(
    listening: list[str], wished: list[str], has_ipv6: bool, is_the_same: bool
) -> None:
    assert epmd_units.is_the_same(listening, wished, has_ipv6) is is_the_same
