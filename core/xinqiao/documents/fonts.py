"""The fonts of printed forms: where they lie, and which characters none of them has."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pylopdf_fonts_jp
import pylopdf_fonts_zh_cn
from fontTools.ttLib import TTFont


@dataclass(frozen=True, slots=True)
class Fonts:
    """Font files: of headings and labels, of running text, and those asked in order where both lack a character."""

    sans: Path
    serif: Path
    fallback: tuple[Path, ...]

    def split(self, texts: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Characters that only a fallback has, and characters that no font has."""
        wanted = {character for text in texts for character in text if not character.isspace()}
        rare = frozenset(c for c in wanted if ord(c) not in _covered(self.sans) or ord(c) not in _covered(self.serif))
        missing = frozenset(c for c in rare if not any(ord(c) in _covered(path) for path in self.fallback))
        return rare - missing, missing


def fonts(more: tuple[Path, ...] = ()) -> Fonts:
    """Noto Sans and Serif SC, the national pair of 黑体 and 宋体; then a district's own fonts, then Noto Serif JP.

    The SC fonts lack some 4,000 characters of names, 𠮷 among them; the Japanese one has most of those.
    """
    chinese, japanese = (Path(str(module.__file__)).parent for module in (pylopdf_fonts_zh_cn, pylopdf_fonts_jp))
    return Fonts(
        chinese / "NotoSansSC-Regular.otf", chinese / "NotoSerifSC-Regular.otf",
        (*more, japanese / "NotoSerifJP-Regular.otf"),
    )  # fmt: skip


@cache
def _covered(path: Path) -> frozenset[int]:
    with TTFont(path, lazy=True) as font:
        return frozenset(font.getBestCmap() or ())
