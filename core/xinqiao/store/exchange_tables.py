"""The tables of periodic exchanges: runs, their items, and what parties bring. As in :mod:`~xinqiao.store.tables`."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from xinqiao.store.schema import metadata

exchange_runs = Table(
    "exchange_runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("exchange", Text, nullable=False),
    Column("partner", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("state", Integer, nullable=False),
    Column("selected", Integer, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("withheld", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("late", Integer, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("deadline_us", BigInteger, nullable=False),
    Column("manifest", LargeBinary, nullable=True),
    Column("receipt", LargeBinary, nullable=True),
    Column("withdrawn", Integer, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False, server_default=""),
    UniqueConstraint(
        "exchange", "partner", "period", "revision", name="uq_exchange_runs_exchange_partner_period_revision"
    ),
    info={"doc": "One periodic exchange of a partner."},
)
exchange_items = Table(
    "exchange_items",
    metadata,
    Column("run", Text, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("item", Text, nullable=False),
    Column("student", Text, nullable=True),
    Column("outcome", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("place", Integer, nullable=True),
    Index("ix_exchange_items_run_item", "run", "item"),
    info={"doc": "The outcome of every item of a run."},
)
exchange_parts = Table(
    "exchange_parts",
    metadata,
    Column("run", Text, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("start", Integer, nullable=False),
    Column("until", Integer, nullable=False),
    Column("first", Integer, nullable=False),
    Column("manifest", LargeBinary, nullable=True),
    Column("receipt", LargeBinary, nullable=True),
    info={"doc": "The parts of a long run, each a package of its own."},
)
exchange_arrivals = Table(
    "exchange_arrivals",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("partner", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("nil", Boolean, nullable=False),
    Column("records", Integer, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    info={"doc": "What a party brought of its own books for a period."},
)
exchange_records = Table(
    "exchange_records",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("partner", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("student", Text, nullable=True),
    Column("item", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    info={
        "doc": "A record of a party's books, with the student it was matched to; a reason where it was not, or differs."
    },
)
