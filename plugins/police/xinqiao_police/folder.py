"""A folder as a door, for a police network that no webhook leaves: messages as files, their answers as files beside them.

Who may write into the folder is who is believed: there is no signature. A file goes once it is on the spool; a refused one
is put aside with its reason. Neither receipts nor refusals hold a word of the message.
"""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from xinqiao.adapters import durable
from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.contract.clock import SystemClock
from xinqiao_police.desk import Desk, Reply
from xinqiao_police.wire import MAX_BODY, dump

REFUSED: Final = "refused"
_SUFFIXES = frozenset({".cap", ".xml", ".json"})
_QUIET_S = 2.0
"""A file that changed so lately may still be written, where its writer does not rename it from ``.part``."""


class Folder:
    """Takes the files of ``path``, oldest name first."""

    def __init__(self, path: Path, desk: Desk, *, quiet_s: float = _QUIET_S) -> None:
        self._path = path
        self._desk = desk
        self._quiet_s = quiet_s

    def collect(self) -> Iterator[ReadResponse]:
        """Spool what is there; each refused file is yielded, and put aside once that is stored.

        Raises PartnerUnavailable: the folder cannot be used, or the spool takes nothing now.
        """
        try:
            for path in sorted(path for path in self._path.iterdir() if self._wanted(path)):
                yield from self._one(path)
        except OSError as e:
            raise PartnerUnavailable(f"the inbox folder cannot be used ({e.strerror}); check inbox") from None

    def _one(self, path: Path) -> Iterator[ReadResponse]:
        with path.open("rb") as file:
            body = file.read(MAX_BODY + 1)
        reply = self._desk.take_file(body)
        if reply.status == 503:
            raise PartnerUnavailable("the spool takes nothing now; files wait in the inbox folder")
        if reply.status >= 400:
            yield ReadResponse(rejected=_rejected(reply))
            (self._path / REFUSED).mkdir(mode=0o700, exist_ok=True)
            path.replace(self._path / REFUSED / path.name)
        # The receipt first: without it nobody could tell a file that was taken from one that was lost.
        durable.replace(path.with_name(f"{path.name}.receipt"), dump(reply.body))
        path.unlink(missing_ok=True)

    def _wanted(self, path: Path) -> bool:
        if path.name.startswith(".") or path.suffix.lower() not in _SUFFIXES:
            return False
        found = path.lstat()
        # Files are dated by the machine, whatever the gateway's clock.
        quiet = SystemClock().now_us() / 1e6 - found.st_mtime >= self._quiet_s
        return stat.S_ISREG(found.st_mode) and found.st_size > 0 and quiet


def _rejected(reply: Reply) -> Rejected:
    error = reply.body["error"]
    why = f"{error['message']}; the file is under {REFUSED}/ with its reason beside it"
    return Rejected(source="inbox", place=error["place"], reason=error["reason"], message=why)
