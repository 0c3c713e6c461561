"""What the commands tell their caller: the exit codes of sysexits.h, and a signal's number above 128."""

from typing import Final

USAGE: Final = 64
DATA: Final = 65
NO_INPUT: Final = 66
UNAVAILABLE: Final = 69
INTERNAL: Final = 70
TRY_AGAIN: Final = 75
NOT_PERMITTED: Final = 77
CONFIGURATION: Final = 78
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
