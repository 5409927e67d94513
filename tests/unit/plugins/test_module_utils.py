# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of plugins/ as Ansible packs them: every import resolves, every package is found, and no name clashes.

Ansible packs what a module imports. It follows imports inside functions and under TYPE_CHECKING as well, but silently
leaves out those that it can't find: a misspelt one would fail on the target, and only when it is needed.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path, PurePath
from typing import Iterator, NamedTuple

import pytest

PLUGINS = Path(__file__).parents[3] / "plugins"
MODULE_UTILS = PLUGINS / "module_utils"
FILES = [path.relative_to(PLUGINS) for path in sorted(PLUGINS.glob("module*/**/*.py"))]
PACKAGES = sorted({file.parent for file in FILES if len(file.parents) > 2 and file.parts[0] == MODULE_UTILS.name})
NAMES = sorted(path.stem for path in MODULE_UTILS.iterdir() if path.name != "__pycache__")


class Import(NamedTuple):
    """A name that is imported from a module, or the module itself."""

    module: str
    name: str | None = None

    def resolves(self) -> bool:
        """Whether there is such a module, and such a name in it."""
        try:
            module = importlib.import_module(self.module)
            if self.name and not hasattr(module, self.name):
                importlib.import_module(f"{self.module}.{self.name}")
        except ImportError:
            return False
        return True


def imports(source: str, file: PurePath) -> Iterator[Import]:
    """What this source imports as a file of plugins/, anywhere in it."""
    package = ["ansible_collections", "beamops", "epmd", PLUGINS.name, *file.parent.parts]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (Import(module, alias.name) for alias in node.names)


def imports_of(file: PurePath) -> set[Import]:
    return set(imports((PLUGINS / file).read_text(encoding="utf-8"), file))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_import_resolves(file: PurePath) -> None:
    assert [wanted for wanted in sorted(imports_of(file), key=str) if not wanted.resolves()] == []


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    from .._host import {}",
        "def f():\n    from .._host.{} import x",
        "if TYPE_CHECKING:\n    from .{} import State",
        "from ._wire import {}",
        "try:\n    import {}\nexcept ImportError:\n    pass",
    ],
)
def test_a_misspelt_import_does_not_resolve(source: str) -> None:
    (found,) = imports(source.format("no_such_name"), PurePath("module_utils/_wire/file.py"))
    assert not found.resolves()


def test_psutil_is_imported_by_one_file_alone() -> None:
    importers = [str(file) for file in FILES if any(found.module.startswith("psutil") for found in imports_of(file))]
    assert importers == ["module_utils/_host/portable.py"]


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_every_package_has_an_empty_init(package: PurePath) -> None:
    # Without it, ansible-core can't find the package in a checkout.
    assert (PLUGINS / package / "__init__.py").read_bytes() == b""


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_one_of_ansibles(name: str) -> None:
    # In a checkout, ansible.cfg puts ours where Ansible has its own, and either would be taken for the other.
    assert importlib.util.find_spec(f"ansible.module_utils.{name}") is None
