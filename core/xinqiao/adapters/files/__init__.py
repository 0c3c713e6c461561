"""Safe readers for the files that partners send, and safe text for the files they get.

Every reader refuses a file it would have to guess about, with a reason, a place and a way to mend it, and never with a
value from the file. ``read_workbook`` is in ``workbook`` and is not imported here: it needs python-calamine.
"""

from xinqiao.adapters.files.archive import Archive, open_archive
from xinqiao.adapters.files.delimited import Encoding, read_table
from xinqiao.adapters.files.places import FileRefused, Finding, Findings, Place
from xinqiao.adapters.files.rows import Cell, Column, Duplicates, Extra, Row, TableLimits
from xinqiao.adapters.files.zipdirectory import ArchiveLimits

__all__ = [
    "Archive",
    "ArchiveLimits",
    "Cell",
    "Column",
    "Duplicates",
    "Encoding",
    "Extra",
    "FileRefused",
    "Finding",
    "Findings",
    "Place",
    "Row",
    "TableLimits",
    "open_archive",
    "read_table",
]
