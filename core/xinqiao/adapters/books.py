"""What an adapter makes of its partner's own books of a month: parts that can be stored, and which of two is the newer."""

from collections.abc import Iterator, Sequence
from typing import Final

from xinqiao.api.exchange.v1.exchange_service_pb2 import PackageRecord, SubmitPackageRequest

BOOKS: Final = "partner_package"
"""The source under which the gateway tells what of a partner's books does not agree; its place names the record."""

_PART: Final = 500
_SINCE_S: Final = 1_577_836_800  # 2020-01-01 UTC


def revision(made_s: int) -> int:
    """The revision of books that were made at this time, seconds since 1970 UTC: of two the later corrects the earlier,
    and the same file is the same revision."""
    return min(max(made_s - _SINCE_S, 0), 2**31 - 1)


def in_parts(
    books: SubmitPackageRequest, period: str, records: Sequence[PackageRecord]
) -> Iterator[SubmitPackageRequest]:
    """The books as the gateway takes them; ``books`` says of which exchange and revision. None are nil books."""
    for start in range(0, max(len(records), 1), _PART):
        part = SubmitPackageRequest(
            exchange=books.exchange, revision=books.revision, period=period, nil=not records,
            records=records[start : start + _PART], more=start + _PART < len(records),
        )  # fmt: skip
        yield part
