"""`xinqiao retention`: how long records are kept, and how old the oldest is: the proof that erasing works."""

from pathlib import Path

from xinqiao.api.gateway.v1.retention_service_pb2 import ContractRetention, GetRetentionRequest
from xinqiao.api.gateway.v1.retention_service_pb2_grpc import RetentionServiceStub
from xinqiao.cli.output import as_json, plain, say, when
from xinqiao.cli.remote import connect
from xinqiao.cli.tables import coloured, table
from xinqiao.cli.texts import Texts


def retention(texts: Texts, config: Path, partner: str, address: str, *, json: bool) -> int:
    """Print what is held of each kind of record."""
    with connect(texts, config, partner, address) as remote:
        found = remote.call(RetentionServiceStub(remote.channel).GetRetention, GetRetentionRequest())
    if json:
        as_json(plain(found))
        return 0
    names = ("contract", "keep", "since", "rows", "oldest", "past", "source")
    table([texts(f"col.{name}") for name in names], [_row(texts, each) for each in found.contracts], numbers=(1, 3, 5))
    say(texts("retention.holds", version=found.version, count=found.holds))
    return 0


def _row(texts: Texts, each: ContractRetention) -> tuple[object, ...]:
    return (
        each.contract, each.keep_days, texts(f"since.{each.since}"), each.rows,
        when(each.oldest_us) if each.oldest_us else "",
        coloured(str(each.past), "yellow") if each.past else "",
        each.source_zh if texts.language == "zh" else each.source_en,
    )  # fmt: skip
