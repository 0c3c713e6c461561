"""What the command line says, in English and Chinese: one table out of one for each family of commands, one function."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from xinqiao.cli.texts import (  # fmt: skip
    access,
    agencies,
    alerts,
    audit,
    casefile,
    cases,
    columns,
    documents,
    instruments,
    kit,
    node,
    policy,
    reports,
)

Language = Literal["en", "zh"]


def choose(arguments: Sequence[str], environment: Mapping[str, str]) -> Language:
    """The language asked for: ``--lang``, then XINQIAO_LANG, then the locale; Chinese when it starts with zh."""
    for index, argument in enumerate(arguments):
        if argument == "--lang" and index + 1 < len(arguments):
            return _language(arguments[index + 1])
        if argument.startswith("--lang="):
            return _language(argument.removeprefix("--lang="))
    for name in ("XINQIAO_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            return _language(value)
    return "en"


def _language(word: str) -> Language:
    return "zh" if word.lower().startswith("zh") else "en"


class Texts:
    """The texts of one language."""

    def __init__(self, language: Language) -> None:
        self.language: Final = language
        self._column = 0 if language == "en" else 1

    def __call__(self, key: str, **values: object) -> str:
        """The text called ``key`` with ``values`` filled in. Raises KeyError for a key that is not in the table."""
        text = TABLE[key][self._column]
        return text.format(**values) if values else text


FAMILIES: Final[tuple[Mapping[str, tuple[str, str]], ...]] = (
    node.TABLE,
    access.TABLE,
    agencies.TABLE,
    alerts.TABLE,
    audit.TABLE,
    cases.TABLE,
    casefile.TABLE,
    instruments.TABLE,
    kit.TABLE,
    documents.TABLE,
    columns.TABLE,
    policy.TABLE,
    reports.TABLE,
)
TABLE: Final[Mapping[str, tuple[str, str]]] = {key: text for family in FAMILIES for key, text in family.items()}
