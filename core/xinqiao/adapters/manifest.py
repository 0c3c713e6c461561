"""What a plugin declares in its ``manifest.yaml``: the core enforces it, so it is read as strictly as configuration."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, ReadResponse
from xinqiao.api.common.v1.options_pb2 import FieldClass
from xinqiao.config.fields import matching
from xinqiao.config.loader import Strict, load
from xinqiao.config.problems import refusal

FILE = "manifest.yaml"

PACKAGE = "package"
"""The contract of monthly exchanges, written with ``exchange``; the receipt that comes back needs no declaration."""

_REJECTED = "rejected"
"""Not a contract: every source may say what it could not take."""

_MANY = {"students": "student"}
"""Bodies that bring many of one contract at once."""

_PREFIX = "FIELD_CLASS_"
_NEVER = ("FIELD_CLASS_UNSPECIFIED", "FIELD_CLASS_COUNSELLING_NOTE")


def _oneof(message: type[DeliverRequest] | type[ReadResponse]) -> tuple[str, ...]:
    return tuple(field.name for field in message.DESCRIPTOR.oneofs_by_name["body"].fields)


def _one_of(words: tuple[str, ...]) -> AfterValidator:
    """A closed list: what is not on it is a fault, so that a new or misspelt word never opens anything."""

    def check(word: str) -> str:
        if word not in words:
            raise refusal("CONFIG/VALUE", "not a known word", f"one of {', '.join(words)}")
        return word

    return AfterValidator(check)


WRITTEN = (*_oneof(DeliverRequest), PACKAGE)
"""What a plugin may be given: the bodies of ``DeliverRequest``, and packages."""

READ = tuple(name for name in _oneof(ReadResponse) if name != _REJECTED and name not in _MANY)
"""What a plugin may bring: the bodies of ``ReadResponse``."""

CLASSES = tuple(name.removeprefix(_PREFIX) for name in FieldClass.DESCRIPTOR.values_by_name if name not in _NEVER)
"""Field classes a manifest may name. Counselling notes never leave, so nobody can declare them."""

Capability = Literal["check", "capacity", "deliver", "read", "exchange", "listen"]
_Text = Annotated[str, Field(min_length=1, max_length=400), matching(r"\S(.*\S)?", "text without blanks around it")]
_Domain = Annotated[str, matching(r"[a-z][a-z0-9_]{0,31}", "a lower-case word, the plugin's own name")]
_Kind = Annotated[str, matching(r"[a-z][a-z0-9_]{0,31}", "a lower-case word such as hospital")]
_Reference = Annotated[str, matching(r"[a-z_][a-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*", "module:Class")]


class Names(Strict):
    """The plugin's name for people."""

    zh: _Text
    en: _Text


class _Use(Strict):
    classes: tuple[Annotated[str, _one_of(CLASSES)], ...]

    @property
    def class_numbers(self) -> frozenset[int]:
        """The classes as numbers of the proto enum ``FieldClass``."""
        return frozenset(int(FieldClass.Value(_PREFIX + name)) for name in self.classes)


class WrittenUse(_Use):
    """One contract the plugin is given, with the field classes it can use; other classes never arrive."""

    contract: Annotated[str, _one_of(WRITTEN)]


class ReadUse(_Use):
    """One contract the plugin brings, with the field classes it may fill."""

    contract: Annotated[str, _one_of(READ)]


class Contracts(Strict):
    """The contracts a plugin touches, seen from the gateway's side of the partner."""

    written: tuple[WrittenUse, ...] = ()
    read: tuple[ReadUse, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> "Contracts":
        for uses in ([use.contract for use in self.written], [use.contract for use in self.read]):
            if len(set(uses)) != len(uses):
                raise refusal("CONFIG/DUPLICATE", "a contract is listed twice", "name each contract once")
        return self


class Manifest(Strict):
    """A plugin's declaration. ``domain`` is its one name: folder, module, entry point and configuration key."""

    domain: _Domain
    api: Annotated[int, Field(ge=1, le=1000)]
    """The version of the plugin API it was written for (``xinqiao.adapters.deprecation.API``)."""
    names: Names
    partner_kind: _Kind
    capabilities: Annotated[tuple[Capability, ...], Field(min_length=1)]
    contracts: Contracts
    hosts: _Text
    listens: _Text | None = None
    schedules: tuple[_Text, ...] = ()
    legal_bases: Annotated[tuple[_Text, ...], Field(min_length=1)]
    settings: _Reference | None = None
    codes: tuple[_Text, ...] = ()
    """Fields of the partner's own format (a JSON key, `MSH-9`, a column) whose values are codes: a recording keeps those
    that the plugin's program spells out, and of every other field only the shape."""

    @model_validator(mode="after")
    def _capabilities_match(self) -> "Manifest":
        written = {use.contract for use in self.contracts.written}
        for capability, uses in (
            ("deliver", written - {PACKAGE}),
            ("exchange", written & {PACKAGE}),
            ("read", {use.contract for use in self.contracts.read}),
        ):
            if (capability in self.capabilities) != bool(uses):
                message = f"capability {capability} and the contracts disagree"
                raise refusal("CONFIG/CONFLICT", message, "declare both or neither")
        if ("listen" in self.capabilities) != (self.listens is not None):
            raise refusal("CONFIG/CONFLICT", "capability listen and listens disagree", "declare both or neither")
        if "listen" in self.capabilities and "read" not in self.capabilities:
            raise refusal("CONFIG/CONFLICT", "what is pushed is brought by read", "declare read too")
        if "check" not in self.capabilities:
            raise refusal("CONFIG/MISSING", "every adapter can check", "add check to capabilities")
        return self

    def written_classes(self, contract: str) -> frozenset[int]:
        """``FieldClass`` numbers the plugin may be given of ``contract``; empty when it does not take it at all."""
        return _classes(self.contracts.written, contract)

    def read_classes(self, contract: str) -> frozenset[int]:
        """``FieldClass`` numbers the plugin may bring in ``contract``; empty when it does not bring it at all."""
        return _classes(self.contracts.read, contract)

    def beyond(self, other: "Manifest") -> tuple[str, ...]:
        """What is declared here and not in ``other``, in words; empty when this one is within it."""
        found: list[str] = [word for word in self.capabilities if word not in other.capabilities]
        for mine, theirs in (
            (self.contracts.written, other.contracts.written),
            (self.contracts.read, other.contracts.read),
        ):
            for use in mine:
                allowed = {name for each in theirs if each.contract == use.contract for name in each.classes}
                found += [f"{use.contract} {name}" for name in use.classes if name not in allowed]
        return tuple(found)

    def takes(self, contract: str) -> bool:
        """Whether the plugin declared that it is given ``contract``."""
        return any(use.contract == contract for use in self.contracts.written)

    def brings(self, contract: str) -> bool:
        """Whether the plugin may yield ``contract`` from ``read``."""
        one = _MANY.get(contract, contract)
        return one == _REJECTED or any(use.contract == one for use in self.contracts.read)


def load_manifest(path: Path) -> Manifest:
    """Read one manifest file. Raises xinqiao.config.problems.ConfigError naming file, line and key of each fault."""
    return load(path, Manifest)


def manifest_of(module: str) -> Manifest:
    """The manifest of the plugin whose importable package is ``module``, such as ``xinqiao_hospital``.

    It lies in the package, or for an editable install beside it in the project folder. Imports ``module``.
    Raises ConfigError, or ImportError when there is no such package.
    """
    return load_manifest(manifest_file(module))


def manifest_file(module: str) -> Path:
    """Where the manifest of an importable package lies, or ought to. Raises ImportError."""
    with resources.as_file(resources.files(module) / FILE) as path:
        beside = path.parent.parent
        # The pyproject.toml tells a project folder from site-packages, where a manifest would be anybody's.
        return beside / FILE if not path.is_file() and (beside / "pyproject.toml").is_file() else path


def _classes(uses: Sequence[WrittenUse] | Sequence[ReadUse], contract: str) -> frozenset[int]:
    return frozenset[int]().union(*(use.class_numbers for use in uses if use.contract == contract))
