"""Invented values in place of real ones: the same shape, the same for the same value, and nobody's."""

import ast
import hmac
import re
import secrets
import unicodedata
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

_HAN: Final = "甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳午未申酉戌亥"
_CONSISTENT: Final = 6
"""From so many characters a part of a value, such as an id in a path, is replaced by the same everywhere. A shorter one
and every word of a sentence is replaced anew in each value: words replaced one by one could be counted, and guessed."""
_LONG_NUMBER: Final = 7
_NOBODY: Final = "000"
"""A long number begins with it: no telephone, identity card or account does."""

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DATE: Final = re.compile(
    r"(?<![0-9A-Za-z])(?P<y>(?:19|20)[0-9]{2})(?P<d>-?)(?P<m>0[1-9]|1[0-2])(?P=d)(?P<day>0[1-9]|[12][0-9]|3[01])"
    r"(?:(?P<t>[T ]?)(?P<h>[01][0-9]|2[0-3])(?P<c>:?)(?P<min>[0-5][0-9])(?:(?P=c)(?P<s>[0-5][0-9]))?)?"
    r"(?P<f>\.[0-9]{1,9})?(?P<z>Z|[+-][01][0-9]:?[0-5][0-9])?(?![0-9A-Za-z])"
)
_COLLECTIONS: Final = frozenset(
    {"students", "referrals", "recalls", "tasks", "teams", "consents", "assessments", "signals", "notices", "shares"}
)
"""First parts of the gateway's own names, such as ``referrals/``."""
_LONGEST_WORD: Final = 80
_PARTS: Final = re.compile(r"[/?&=|^~,;{}]+")


def vocabulary(package: str) -> frozenset[str]:
    """Every text that the program of ``package`` (importable, ``xinqiao_hospital``) and its tables spell out, and
    those of the core's adapters: the names of a partner's format, and its codes. Raises ImportError."""
    words: set[str] = set()
    for name in (package, "xinqiao.adapters"):
        for file in _files(resources.files(name)):
            text = file.read_text("utf-8")
            for spelt in _literals(text) if file.name.endswith(".py") else re.split(r"[\s\"'\[\],:#]+", text):
                if len(spelt) <= _LONGEST_WORD and "\n" not in spelt:
                    words |= {spelt, *_PARTS.split(spelt)}
    return frozenset(words - {""})


def _files(folder: Traversable) -> Iterator[Traversable]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _files(each)
        elif each.name.endswith((".py", ".yaml")):
            yield each


def _literals(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


class Inventor:
    """The visitor that lets only structure and codes through; its key is forgotten with it."""

    def __init__(self, words: frozenset[str], codes: frozenset[str]) -> None:
        """``words`` may be kept where they are structure, or the value of a field named in ``codes``."""
        self._words = words
        self._codes = codes
        self._key = secrets.token_bytes(32)

    def word(self, text: str) -> str:
        """See ``Visitor``."""
        return text if text in self._words else self._invented(text)

    def value(self, name: str, text: str) -> str:
        """See ``Visitor``."""
        if name not in self._codes:
            return self._invented(text)
        if text in self._words:
            return text
        return "/".join(step if step in self._words else self._invented(step) for step in text.split("/"))

    def _invented(self, text: str) -> str:
        collection, slash, rest = text.partition("/")
        if slash and collection in _COLLECTIONS:
            return f"{collection}/{self._invented(rest)}"
        if _NUMBER.fullmatch(text) is not None and _DATE.fullmatch(text) is None:
            return self._mapped(text, f"number {text}", digits_only=True)
        shown: list[str] = []
        at = 0
        for date in _DATE.finditer(text):
            shown += [self._runs(text[at : date.start()], text, at), self._date(date)]
            at = date.end()
        return "".join([*shown, self._runs(text[at:], text, at)])

    def _runs(self, part: str, whole: str, at: int) -> str:
        """Each run of letters and digits replaced; blanks and punctuation are structure."""
        shown: list[str] = []
        run, sentence = "", " " in whole
        for place, character in enumerate([*part, ""]):
            if character and not _is_structure(character):
                run += character
                continue
            if run:
                same = run == whole or (len(run) >= _CONSISTENT and not sentence)
                seed = run if same else f"{whole} {at + place}"
                shown.append(self._mapped(run, f"run {seed}"))
                run = ""
            shown.append(character)
        return "".join(shown)

    def _date(self, found: re.Match[str]) -> str:
        stream = self._stream(f"date {found[0]}")
        year, month, day, hour, minute, second = (
            low + next(stream) % span for low, span in ((2001, 28), (1, 12), (1, 28), (0, 24), (0, 60), (0, 60))
        )
        d, c = found["d"], found["c"] or ""
        shown = f"{year}{d}{month:02}{d}{day:02}"
        if found["h"] is not None:
            shown += f"{found['t']}{hour:02}{c}{minute:02}" + (f"{c}{second:02}" if found["s"] is not None else "")
        fraction = "." + "0" * (len(found["f"]) - 1) if found["f"] is not None else ""
        return shown + fraction + (found["z"] or "")

    def _mapped(self, run: str, seed: str, *, digits_only: bool = False) -> str:
        """Character by character, never as it was."""
        stream = self._stream(seed)
        while True:
            made = "".join(_like(character, next(stream), digits_only=digits_only) for character in run)
            if made.isascii() and made.isdigit() and len(made) >= _LONG_NUMBER:
                made = _NOBODY + made[len(_NOBODY) :]
            if made != run:
                return made

    def _stream(self, seed: str) -> Iterator[int]:
        block = 0
        while True:
            said = f"{block} {seed}".encode("utf-8", "surrogatepass")
            yield from hmac.digest(self._key, said, "sha256")
            block += 1


def _is_structure(character: str) -> bool:
    if character.isascii():
        return not character.isalnum() and (character.isprintable() or character in "\t\r\n")
    return unicodedata.category(character)[0] in "PZ"


def _like(character: str, chosen: int, *, digits_only: bool) -> str:
    if character.isascii() and character.isdigit():
        return str(chosen % 10)
    if digits_only:
        return character
    if not character.isascii() or not character.isalpha():
        return _HAN[chosen % len(_HAN)]
    letter = chr(ord("a") + chosen % 26)
    return letter.upper() if character.isupper() else letter
