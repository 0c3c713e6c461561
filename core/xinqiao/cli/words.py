"""Words of the contract's enums, as people type and read them."""

from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal


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
