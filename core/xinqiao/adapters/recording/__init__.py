"""Partner traffic on record with nobody in it, so that a plugin can be mended far from the district it fails in.

What passes between one agency's adapter and its partner is written down after every identity, text and number in it was
replaced by an invented value of the same shape (``invent``). Kept are the structure and the values of the fields that
the plugin's manifest declares as ``codes``, and of both only words that the plugin's own program spells out: what is in
the program was there before the child was. ``xinqiao.testing.replay`` serves a recording as a partner.
"""

from xinqiao.adapters.recording.invent import Inventor, vocabulary
from xinqiao.adapters.recording.tape import MOST, By, Direction, Tape, current, exchanged, filed, posted, work_for

__all__ = [
    "MOST",
    "By",
    "Direction",
    "Inventor",
    "Tape",
    "current",
    "exchanged",
    "filed",
    "posted",
    "vocabulary",
    "work_for",
]
