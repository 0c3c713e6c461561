"""The tables, column by column in the order in which ``Tx.insert`` takes values.

Every ``*_us`` is whole microseconds since 1970 UTC. ``sealed`` is a :mod:`~xinqiao.store.sealing` blob. A column may
be null only where it says so; an unknown text is ``""``, an unknown time 0. ``Table.info["doc"]`` says what a table is
for. Changing anything here needs a migration: ``tests/store/test_migrations.py`` compares both.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from xinqiao.store.casefile_tables import access_requests, entries, letters, mailboxes, plans, shares, tasks, teams
from xinqiao.store.schema import key_metadata, metadata

SCHEMA_VERSION = "0016"
KEY_SCHEMA_VERSION = "0002"

__all__ = [
    "access_requests", "entries", "key_metadata", "letters", "mailboxes", "metadata", "plans", "shares", "tasks", "teams",
]  # fmt: skip

students = Table(
    "students",
    metadata,
    Column("id", Text, primary_key=True),
    Column("school", Text, nullable=False),
    Column("district", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("left_us", BigInteger, nullable=False, server_default="0"),
    Index("ix_students_left_us", "left_us", sqlite_where=text("left_us > 0"), postgresql_where=text("left_us > 0")),
    info={"doc": "Where a student is and since when the roster says it left (0 = it has not); the rest is sealed."},
)
local_ids = Table(
    "local_ids",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("blind", LargeBinary, primary_key=True),
    Column("student", Text, nullable=False),
    Index("ix_local_ids_student", "student"),
    info={"doc": "Keyed hash of a partner's own id of a student."},
)
pseudonyms = Table(
    "pseudonyms",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("pseudonym", Text, primary_key=True),
    Column("student", Text, nullable=False),
    UniqueConstraint("partner", "student", name="uq_pseudonyms_partner_student"),
    info={"doc": "Names that partners were told before names were enciphered ids; read, and written no more."},
)
assessments = Table(
    "assessments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("instrument", Text, nullable=False),
    Column("taken_on", Text, nullable=False),
    Column("tier", Integer, nullable=False),
    Column("critical", Boolean, nullable=False),
    Column("partner", Text, nullable=False),
    Column("upload", Text, nullable=True),
    Column("created_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_assessments_student", "student"),
    info={"doc": "Screening results received."},
)
signals = Table(
    "signals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tier", Integer, nullable=False),
    Column("state", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_signals_student", "student"),
    info={"doc": "Warning signs from people or systems."},
)
triages = Table(
    "triages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("proposed", Integer, nullable=False),
    Column("confirmed", Integer, nullable=False),
    Column("state", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_triages_student", "student"),
    Index("ix_triages_state", "state"),
    info={"doc": "The human decision on a proposed risk tier."},
)
referrals = Table(
    "referrals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("tier", Integer, nullable=False),
    Column("lane", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_referrals_student", "student"),
    Index("ix_referrals_recipient_updated_us", "recipient", "updated_us"),
    Index("ix_referrals_sender_updated_us", "sender", "updated_us"),
    info={"doc": "A student handed from one agency to another."},
)
notices = Table(
    "notices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("serial", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("tier", Integer, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    UniqueConstraint("serial", name="uq_notices_serial"),
    Index("ix_notices_student", "student"),
    Index("ix_notices_school_created_us", "school", "created_us"),
    info={"doc": "Notices of mental-health status; the serial is what a QR code carries."},
)
returns = Table(
    "returns",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("agency", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("tier", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_returns_student", "student"),
    Index("ix_returns_agency_created_us", "agency", "created_us"),
    Index("ix_returns_recipient", "recipient"),
    info={"doc": "A leave and the return from it; recipient is the next school while it is asked, else empty."},
)
consents = Table(
    "consents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("purpose", Integer, nullable=False),
    Column("classes", Integer, nullable=False),
    Column("state", Integer, nullable=False),
    Column("not_before_us", BigInteger, nullable=False),
    Column("not_after_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_consents_student_recipient_purpose", "student", "recipient", "purpose"),
    info={"doc": "What a guardian allowed, to whom, for what, how long."},
)
recalls = Table(
    "recalls",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_recalls_student", "student"),
    Index("ix_recalls_cause", "cause"),
    Index("ix_recalls_recipient_created_us", "recipient", "created_us"),
    info={"doc": "What a recipient was asked to delete, and its signed answer; cause is the consent or override."},
)
overrides = Table(
    "overrides",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("basis", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_overrides_student", "student"),
    Index("ix_overrides_created_us", "created_us"),
    info={"doc": "Disclosures under a law that a second person must approve."},
)
duties = Table(
    "duties",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("basis", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    info={"doc": "Legal duties opened by a finding."},
)
holdings = Table(
    "holdings",
    metadata,
    Column("item", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("student", Text, nullable=True),
    Column("school", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("deadline_us", BigInteger, nullable=False),
    Column("step", Text, nullable=False),
    Column("tier", Integer, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("escalations", Integer, nullable=False),
    Index("ix_holdings_deadline_us", "deadline_us"),
    Index("ix_holdings_holder", "holder"),
    CheckConstraint("length(holder) > 0", name="ck_holdings_held"),
    CheckConstraint("deadline_us > 0", name="ck_holdings_due"),
    info={"doc": "Who must act on an open item, and until when: exactly one holder and one deadline, by constraint."},
)
expected_reports = Table(
    "expected_reports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("cadence", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("reporter", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("windows", Text, nullable=False),
    Column("guessed", Boolean, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("nil_report", Boolean, nullable=False),
    Column("students_seen", Integer, nullable=False),
    Column("concerns", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    UniqueConstraint("cadence", "subject", "unit", "period", name="uq_expected_reports_cadence_subject_unit_period"),
    Index("ix_expected_reports_state_due_us", "state", "due_us"),
    Index("ix_expected_reports_subject_due_us", "subject", "due_us"),
    info={"doc": "Reports that are owed for a period: one row each, made once, whatever restarts in between."},
)
requests = Table(
    "requests",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("method", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("student", Text, nullable=True),
    Column("response", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    info={"doc": "Answers already given, so that a repeated request gets the same one."},
)
journal = Table(
    "journal",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("partner", Text, nullable=False),
    Column("purpose", Integer, nullable=False),
    Column("classes", Integer, nullable=False),
    Column("student", Text, nullable=True),
    Column("resource", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("basis", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index("ix_journal_student", "student"),
    Index("ix_journal_resource", "resource"),
    info={"doc": "Append-only record of what was decided and disclosed, chained per writer."},
)
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    info={"doc": "Signed heads of the journal."},
)
witnesses = Table(
    "witnesses",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("writer", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    info={"doc": "The newest signed head of each chain that a partner gave back, so that it can be asked for it."},
)
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("recipient", Text, nullable=False),
    Column("lane", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("student", Text, nullable=True),
    Column("item", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("not_before_us", BigInteger, nullable=False),
    Column("lease_until_us", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("receipt", Text, nullable=False),
    Column("last_reason", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("purpose", Integer, nullable=False),
    Column("basis", Text, nullable=False),
    Column("payload", LargeBinary, nullable=True),
    UniqueConstraint("idempotency_key", name="uq_deliveries_idempotency_key"),
    Index("ix_deliveries_state_lane_not_before_us", "state", "lane", "not_before_us"),
    Index("ix_deliveries_recipient_state", "recipient", "state"),
    Index("ix_deliveries_student_recipient_state", "student", "recipient", "state"),
    info={"doc": "The outbox: what must reach whom."},
)
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
    info={"doc": "The outcome of every item of a run."},
)
uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("partner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=True),
    Column("state", Integer, nullable=False),
    Column("batches", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    info={"doc": "Files received in batches."},
)
cursors = Table(
    "cursors",
    metadata,
    Column("agency", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    info={"doc": "How far a partner's stream was read."},
)
drills = Table(
    "drills",
    metadata,
    Column("id", Text, primary_key=True),
    Column("school", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("student", Text, nullable=False),
    Column("started_by", Text, nullable=False),
    Column("people", Boolean, nullable=False),
    Column("state", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger, nullable=False),
    Column("report", LargeBinary, nullable=True),
    UniqueConstraint("student", name="uq_drills_student"),
    Index("ix_drills_state", "state"),
    info={"doc": "Drills of the crisis lane and their reports; nothing of a person, the student is an invention."},
)
erasures = Table(
    "erasures",
    metadata,
    Column("student", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("cancelled", Integer, nullable=False),
    Column("recipients", Text, nullable=False),
    UniqueConstraint("request", name="uq_erasures_request"),
    info={"doc": "Students erased: a key database from before is brought up to it, and a broken erasure goes on."},
)
meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    info={"doc": "Facts about this database."},
)

student_keys = Table(
    "student_keys",
    key_metadata,
    Column("student", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("suite", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("kek", Integer, nullable=False, server_default="0"),
    info={"doc": "Wrapped data keys, in their own database so that a backup of the records cannot bring them back."},
)
tombstones = Table(
    "tombstones",
    key_metadata,
    Column("student", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    info={"doc": "Students whose keys were destroyed; no new key is ever made for them."},
)

keks = Table(
    "keks",
    key_metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("provider", Text, nullable=False),
    Column("provider_version", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("retired_us", BigInteger, nullable=False),
    info={"doc": "Key-encryption keys as their provider wrapped them; the newest wraps, a retired one opens nothing."},
)
deployment_keys = Table(
    "deployment_keys",
    key_metadata,
    Column("name", Text, primary_key=True),
    Column("kek", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    info={"doc": "Keys of the deployment that outlive every rotation, wrapped as the students' are."},
)

_APPEND_ONLY_SQLITE = (
    "CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}"
    " BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    "CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}"
    " BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
)
_APPEND_ONLY_POSTGRESQL = (
    "CREATE OR REPLACE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$",
    "CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION journal_append_only()",
    "CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only()",
)


def _guard(table: Table, connection: Connection, **_options: object) -> None:
    """Speed bumps for an administrator with SQL at hand; the signed checkpoints are the control."""
    sqlite = connection.dialect.name == "sqlite"
    for statement in _APPEND_ONLY_SQLITE if sqlite else _APPEND_ONLY_POSTGRESQL:
        connection.exec_driver_sql(statement.format(table=table.name))


event.listen(journal, "after_create", _guard)
event.listen(checkpoints, "after_create", _guard)
