# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of a CA of the test's own, and the options with which a node uses them for distribution."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import NamedTuple

import trustme


class Certificate(NamedTuple):
    """A certificate with its chain, and its key, as PEM files."""

    certfile: Path
    keyfile: Path


class Authority:
    """A CA with its files in a directory of the test's own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ca = trustme.CA()
        directory.mkdir(parents=True, exist_ok=True)
        self.cafile = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.cafile))

    def issue(self, name: str, expired: bool = False) -> Certificate:
        """A certificate for server and client, with this common name."""
        now = datetime.datetime.now(datetime.UTC)
        issued = self._ca.issue_cert(
            f"{name}.example",
            common_name=name,
            not_before=now - datetime.timedelta(days=2),
            not_after=now + datetime.timedelta(days=-1 if expired else 30),
        )
        made = Certificate(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        for blob in issued.cert_chain_pems:
            blob.write_to_path(str(made.certfile), append=True)
        issued.private_key_pem.write_to_path(str(made.keyfile))
        return made

    def options(
        self,
        server: Certificate,
        client: Certificate | None,
        versions: str = "'tlsv1.2'",
        mutual: bool = True,
    ) -> list[str]:
        """The arguments of a node with these certificates. mutual: whether other nodes need one, too."""
        own = f'{{certfile, "{client.certfile}"}}, {{keyfile, "{client.keyfile}"}}, ' if client else ""
        wants = "{verify, verify_peer}, {fail_if_no_peer_cert, true}" if mutual else "{verify, verify_none}"
        file = self._directory / "ssl_dist.conf"
        file.write_text(
            "%% As in the User's Guide of ssl.\n"
            f'[{{server, [{{certfile, "{server.certfile}"}}, {{keyfile, "{server.keyfile}"}},\n'
            f'            {{cacertfile, "{self.cafile}"}}, {{versions, [{versions}]}}, {wants}]}},\n'
            f" {{client, [{own}{{versions, [{versions}]}}, {{verify, verify_none}}]}}].\n",
            encoding="utf-8",
        )
        return ["-proto_dist", "inet_tls", "-ssl_dist_optfile", str(file)]
