"""Words of the contract's enums and reasons, as people type and read them."""

import re
from typing import Final

from xinqiao.cli.texts import TABLE, Texts
from xinqiao.contract import reasons
from xinqiao.contract.errors import Refusal

_REFUSED: Final = "refused_"
_REASON: Final = re.compile(r"\b(?:DATA|PARTNER)/[A-Z0-9_]+")


def number(texts: Texts, enum: object, prefix: str, word: str) -> int:
    """The number of ``care-task`` or ``CARE_TASK``. Raises Refusal INVALID_ARGUMENT/USAGE with the words there are."""
    known: dict[str, int] = dict(enum.items())  # type: ignore[attr-defined]
    found = known.get(prefix + word.strip().upper().replace("-", "_"), 0)
    if not found:
        choices = ", ".join(name.removeprefix(prefix).lower() for name, value in known.items() if value)
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("documents.word", choices=choices))
    return found


def word(name: str, prefix: str) -> str:
    """``care_task`` for ``FIELD_CLASS_CARE_TASK``; empty for the value that says nothing."""
    found = name.removeprefix(prefix).lower()
    return "" if found == "unspecified" else found


def explained(texts: Texts, text: str) -> str:
    """The reason that stands in ``text``, in the reader's words; empty where none stands there or is known."""
    found = _REASON.search(text)
    words = reasons.words(found[0]) if found else None
    return "" if words is None else words.zh if texts.language == "zh" else words.en


def step_word(texts: Texts, step: str) -> str:
    """What a holder has to do, by the word that the holding has; that word itself where it is not known."""
    if (key := f"step.{step}") in TABLE:
        return texts(key)
    bare = step.removeprefix(_REFUSED)
    found = reasons.words(bare.upper())
    told = bare if found is None else found.zh if texts.language == "zh" else found.en
    return texts("step.refused", why=told) if bare != step else told
