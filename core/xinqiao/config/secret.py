"""Secrets are named in the configuration, never written there: ``!env NAME`` or ``!file path``."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from xinqiao.config.problems import Finding, Loc, refusal

SECRET_TOKEN = "\x00secret"  # noqa: S105 - a marker
"""The key that stands for a tagged scalar between the YAML reader and pydantic; a file cannot hold a NUL."""

_ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,127}\Z")
_MAX_BYTES = 64 * 1024
_HINT = "name where it is kept: `!env NAME` or `!file path`"


class Secret:
    """A reference to a password or token; ``reveal()`` reads it when it is needed, so it never sits in the settings."""

    __slots__ = ("_kind", "_name")

    def __init__(self, kind: Literal["env", "file"], name: str) -> None:
        self._kind = kind
        self._name = name

    def reveal(self) -> str:
        """The secret itself, without one trailing line end.

        Raises LookupError when it is not there, PermissionError when others may read its file.
        """
        value = os.environ.get(self._name, "") if self._kind == "env" else _read_private(Path(self._name))
        if not value:
            raise LookupError(f"the secret {self} is empty or not set")
        return value

    def __repr__(self) -> str:
        return f"!{self._kind} {self._name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validate, serialization=core_schema.plain_serializer_function_ser_schema(repr)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "description": "A secret: `!env NAME` or `!file path`, never the value itself."}

    @classmethod
    def _validate(cls, value: object, info: ValidationInfo) -> "Secret":
        if isinstance(value, Secret):
            return value
        scope = cast("dict[str, object]", info.context or {}).get(SECRET_TOKEN)
        index = cast("dict[str, object]", value).get(SECRET_TOKEN) if isinstance(value, dict) else None
        if isinstance(scope, SecretScope) and isinstance(index, int):
            return scope.take(index)
        raise refusal("CONFIG/SECRET", "a secret must not be written in the file", _HINT)


@dataclass(frozen=True, slots=True)
class TaggedScalar:
    """One ``!env`` or ``!file`` as read, not yet known to stand on a secret field."""

    loc: Loc
    kind: Literal["env", "file"]
    name: str


class SecretScope:
    """The tagged scalars of one file: hands out each as a Secret and remembers which were asked for."""

    def __init__(self, folder: Path, scalars: tuple[TaggedScalar, ...]) -> None:
        self._folder = folder
        self._scalars = scalars
        self._taken: dict[int, Secret] = {}

    def take(self, index: int) -> Secret:
        """The secret for token ``index``; refuses a malformed name."""
        scalar = self._scalars[index]
        if scalar.kind == "env" and not _ENV_NAME.match(scalar.name):
            raise refusal(
                "CONFIG/SECRET", "not the name of an environment variable", "use A-Z, 0-9 and _, as in `!env XQ_TOKEN`"
            )
        if scalar.kind == "file" and not scalar.name:
            raise refusal("CONFIG/SECRET", "`!file` needs a path")
        name = str(self._folder / scalar.name) if scalar.kind == "file" else scalar.name
        self._taken[index] = Secret(scalar.kind, name)
        return self._taken[index]

    def taken(self) -> list[tuple[Loc, Secret]]:
        """Every secret a field asked for, with its place."""
        return [(self._scalars[index].loc, secret) for index, secret in sorted(self._taken.items())]

    def unused(self) -> list[Finding]:
        """Tags that stand on fields which are not secrets."""
        return [
            Finding(
                scalar.loc, "CONFIG/TAG", f"`!{scalar.kind}` stands on a field that is not a secret", "write the value"
            )
            for index, scalar in enumerate(self._scalars)
            if index not in self._taken
        ]


def _read_private(path: Path) -> str:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise LookupError(f"{path} is not a file")
        if mode & 0o077:
            raise PermissionError(f"others may use {path}: chmod 600 it")
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise LookupError(f"{path} is larger than {_MAX_BYTES} bytes")
    try:
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        # The codec's own text would quote bytes of the secret.
        raise LookupError(f"{path} is not UTF-8 text") from None
