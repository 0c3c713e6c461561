"""The tables of case sharing: plans, shares, care teams, letters, looks asked for. As in :mod:`~xinqiao.store.tables`.

An index of some rows only names SQLite's condition alone: to name PostgreSQL's loads all of that dialect, a tenth of a
start. Its migration says both, and a test holds them to be the same.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, text

from xinqiao.store.schema import metadata

plans = Table(
    "plans",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("agency", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_plans_student", "student"),
    Index("uq_plans_open", "student", unique=True, sqlite_where=text("state = 1")),
    info={"doc": "A student's plan, one open at a time by constraint; its version counts its entries."},
)
entries = Table(
    "entries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("kind", Integer, nullable=False),
    Column("author", Text, nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("superseded_by", Text, nullable=False),
    Column("superseded_version", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_entries_student_created_us", "student", "created_us"),
    Index("ix_entries_plan", "plan"),
    info={"doc": "Entries of plans, and short contacts where plan is empty; never changed, only superseded."},
)
shares = Table(
    "shares",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("purpose", Integer, nullable=False),
    Column("classes", Integer, nullable=False),
    Column("team", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("not_after_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_shares_student_recipient", "student", "recipient"),
    Index("ix_shares_recipient_created_us", "recipient", "created_us"),
    Index("ix_shares_school_created_us", "school", "created_us"),
    Index("ix_shares_state_not_after_us", "state", "not_after_us"),
    Index("ix_shares_team", "team"),
    info={"doc": "Who may read a student's case, for what, which classes, until when; a membership names its team."},
)
teams = Table(
    "teams",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_teams_school_created_us", "school", "created_us"),
    Index("uq_teams_open", "student", unique=True, sqlite_where=text("state = 1")),
    info={"doc": "Care teams, one open for a student at a time by constraint; members are shares."},
)
tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("team", Text, nullable=False),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("share", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_tasks_team", "team"),
    Index("ix_tasks_share_state", "share", "state"),
    info={"doc": "Tasks of care teams; share is the holder's membership, empty while the school holds it."},
)
mailboxes = Table(
    "mailboxes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("state", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_mailboxes_student", "student"),
    Index("ix_mailboxes_school_created_us", "school", "created_us"),
    info={
        "doc": "Mailboxes of social workers: the only place that ties a writer to letters; sealed under its own key."
    },
)
letters = Table(
    "letters",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("from_student", Boolean, nullable=False),
    Column("answered", Boolean, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_letters_student_created_us", "student", "created_us"),
    Index("ix_letters_worker_created_us", "worker", "created_us"),
    info={
        "doc": "Letters. Their student is the mailbox, a subject with a key of its own, so no letter names its writer."
    },
)
access_requests = Table(
    "access_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Column("school", Text, nullable=False),
    Column("delivery", Text, nullable=False),
    Column("asker", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("state", Integer, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    UniqueConstraint("token_hash", name="uq_access_requests_token_hash"),
    Index("ix_access_requests_student", "student"),
    Index("ix_access_requests_created_us", "created_us"),
    Index("ix_access_requests_state_due_us", "state", "due_us"),
    info={
        "doc": "Looks at one record that were asked for: at a dead delivery, or, with none named, at all of a student."
    },
)
