"""Reading of the screening data files: strict YAML, strict models, errors that name the file and the key."""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xinqiao.contract import plainyaml

Text = Annotated[str, Field(min_length=1, max_length=2000)]
ModelT = TypeVar("ModelT", bound=BaseModel)


class DataFileError(Exception):
    """A configuration file that cannot be used: ``file`` and ``key`` say where, ``problem`` what and how to mend it."""

    def __init__(self, file: Path, key: str, problem: str) -> None:
        super().__init__(f"{file}: {key}: {problem}" if key else f"{file}: {problem}")
        self.file = file
        self.key = key
        self.problem = problem


class Strict(BaseModel):
    """Base of every data-file model: no unknown key, no silent conversion, immutable after loading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Label(Strict):
    """One text in the two languages of the gateway."""

    zh: Text
    en: Text


def read_yaml(path: Path, error: type[DataFileError]) -> dict[str, object]:
    """Read one YAML mapping with the safe loader, refusing a key given twice. Raises ``error`` with the line."""
    try:
        data: object = yaml.load(path.read_text(encoding="utf-8"), Loader=_OnceLoader)
    except yaml.MarkedYAMLError as failure:
        line = failure.problem_mark.line + 1 if failure.problem_mark else 0
        raise error(path, f"line {line}", failure.problem or "not valid YAML") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as failure:
        raise error(path, "", f"cannot be read as UTF-8 YAML ({type(failure).__name__})") from None
    if not isinstance(data, dict):
        raise error(path, "", "must hold a mapping at the top")
    return cast("dict[str, object]", data)


def parse(path: Path, data: dict[str, object], model: type[ModelT], error: type[DataFileError]) -> ModelT:
    """Validate ``data`` (read from ``path``) as ``model``. Raises ``error`` for the first fault, with its key."""
    try:
        # JSON mode is what lets a strict model take a YAML list for a tuple without loosening anything else.
        return model.model_validate_json(json.dumps(data))
    except ValidationError as failure:
        first = failure.errors(include_url=False, include_input=False)[0]
        # A fault of the whole file, found by comparing keys, carries the place of its key with it.
        place = first["loc"] or first.get("ctx", {}).get("loc", ())
        raise error(path, ".".join(map(str, place)), first["msg"].removeprefix("Value error, ")) from None
    except (TypeError, ValueError) as failure:
        raise error(path, "", f"holds something JSON cannot say, such as a date: quote it ({failure})") from None


class _OnceLoader(plainyaml.Loader):
    """A safe loader for which a repeated mapping key is an error instead of a silent overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(getattr(key, "value", ""))
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {name} is given twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)
