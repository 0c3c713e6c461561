"""An agency's settings on their way into its process: as JSON that the plugin's own model reads again."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from xinqiao.config import Secret
from xinqiao.config.secret import SECRET_TOKEN, SecretScope, TaggedScalar

_REFERENCE = re.compile(r"!(env|file) (.*)", re.DOTALL)


def packed(settings: BaseModel) -> dict[str, Any]:
    """``settings`` as they were written, with paths made absolute and secrets as references, never as values."""
    secrets: list[tuple[str, str]] = []
    return {"values": _plain(settings, secrets), "secrets": secrets}


def unpacked(model: type[BaseModel], data: Mapping[str, Any]) -> BaseModel:
    """The inverse of ``packed``. Raises pydantic's ValidationError."""
    tags = tuple(TaggedScalar((), cast("Literal['env', 'file']", kind), name) for kind, name in data["secrets"])
    return model.model_validate(data["values"], context={SECRET_TOKEN: SecretScope(Path("/"), tags)})


def paths_of(settings: object) -> Iterator[Path]:
    """Every path the settings name, secrets' files too."""
    for value in _leaves(settings):
        if isinstance(value, Path):
            yield value.absolute()
        elif isinstance(value, Secret) and _kind(value)[0] == "file":
            yield Path(_kind(value)[1]).absolute()


def environment_of(settings: object) -> dict[str, str]:
    """The environment variables that the settings name as secrets, and no others."""
    names = [_kind(value)[1] for value in _leaves(settings) if isinstance(value, Secret) and _kind(value)[0] == "env"]
    return {name: os.environ[name] for name in names if name in os.environ}


def _plain(value: object, secrets: list[tuple[str, str]]) -> Any:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        given = ((name, fields[name].alias or name) for name in value.model_fields_set if name in fields)
        return {key: _plain(getattr(value, name), secrets) for name, key in given}
    if isinstance(value, Secret):
        kind, name = _kind(value)
        secrets.append((kind, str(Path(name).absolute()) if kind == "file" else name))
        return {SECRET_TOKEN: len(secrets) - 1}
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return {str(to_jsonable_python(key)): _plain(each, secrets) for key, each in pairs.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each, secrets) for each in cast("Sequence[object]", value)]
    return to_jsonable_python(value)


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, BaseModel):
        for _, each in value:
            yield from _leaves(each)
    elif isinstance(value, Mapping):
        for each in cast("Mapping[object, object]", value).values():
            yield from _leaves(each)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in cast("Sequence[object]", value):
            yield from _leaves(each)
    else:
        yield value


def _kind(secret: Secret) -> tuple[str, str]:
    found = _REFERENCE.fullmatch(repr(secret))
    return (found[1], found[2]) if found is not None else ("env", "")
