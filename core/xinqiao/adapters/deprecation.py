"""What goes from the plugin API, and when: announced here first, named to every administrator whose plugins use it, and
gone only when its term is over. The contracts in ``protos/`` never break within ``v1``, so nothing there goes at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path
from typing import Final

from xinqiao.adapters.manifest import Manifest, manifest_file
from xinqiao.adapters.protocols import AdapterKind
from xinqiao.config.document import read_document
from xinqiao.config.problems import Finding, Loc

API: Final = 1
"""The version of the plugin API: its hooks, what they return, the manifest. It grows when something has gone from it."""

TERM: Final = timedelta(days=365)
"""How long whatever is announced stays, and works as before."""


@dataclass(frozen=True, slots=True)
class Deprecated:
    """``what`` is a name of the API: ``hook.NAME``, ``kind.FIELD`` of ``AdapterKind``, ``manifest.KEY``,
    ``capability.WORD`` or ``contract.WORD`` of a manifest.
    """

    what: str
    announced: date
    zh: str
    en: str

    @property
    def gone(self) -> date:
        """The first day on which it may be gone."""
        return self.announced + TERM


DEPRECATED: Final[tuple[Deprecated, ...]] = ()
"""Everything that was ever announced; the entry stays when the thing has gone."""


@dataclass(frozen=True, slots=True)
class Use:
    """A plugin that uses what goes, and the file and line where it does."""

    plugin: str
    what: Deprecated
    file: Path
    line: int


def uses(kind: AdapterKind, manifest: Manifest, announced: Sequence[Deprecated] = DEPRECATED) -> Iterator[Use]:
    """What of ``announced`` a loaded plugin uses."""
    module = f"xinqiao_{kind.name}"
    for each in announced:
        part, _, name = each.what.partition(".")
        if part in ("hook", "kind"):
            if hasattr(import_module(module), name) if part == "hook" else _given(kind, name):
                yield Use(kind.name, each, *_spelt(Path(import_module(module).__file__ or ""), name))
        elif (place := _declared(manifest, part, name)) is not None:
            path = manifest_file(module)
            yield Use(kind.name, each, path, read_document(path).problem(Finding(place, "CONFIG/VALUE", "")).line)


def _declared(manifest: Manifest, part: str, name: str) -> Loc | None:
    """Where a manifest declares it; None where it does not."""
    if part == "manifest":
        return (name,) if name in manifest.model_fields_set else None
    if part == "capability":
        return ("capabilities",) if name in manifest.capabilities else None
    contracts = manifest.contracts
    for way, declared in (
        ("written", [use.contract for use in contracts.written]), ("read", [use.contract for use in contracts.read])
    ):  # fmt: skip
        if name in declared:
            return ("contracts", way, declared.index(name))
    return None


def _given(kind: AdapterKind, name: str) -> bool:
    """Whether the plugin fills a field that has a default."""
    [field] = [each for each in fields(kind) if each.name == name]
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return bool(getattr(kind, name) != default)


def _spelt(path: Path, name: str) -> tuple[Path, int]:
    """The line of a module that has the name; the first where none does."""
    lines = path.read_text("utf-8").splitlines()
    return path, next((number for number, line in enumerate(lines, 1) if name in line), 1)
