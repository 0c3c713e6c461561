"""Which students are drills: everything that hangs on one is shown as a drill, and counted nowhere."""

from sqlalchemy import ColumnElement, bindparam, select

from xinqiao.store import tables
from xinqiao.store.tx import ReadTx

RUNNING = 1
"""``DrillState.DRILL_STATE_RUNNING``."""

_OF_STUDENT = select(tables.drills.c.id).where(tables.drills.c.student == bindparam("student"))


def is_drill(tx: ReadTx, student: str) -> bool:
    """Whether a student is the invention of a drill."""
    return bool(tx.find(_OF_STUDENT, student=student))


def not_drill(student: ColumnElement[str]) -> ColumnElement[bool]:
    """For every statistic, exchange and history: rows whose ``student`` column is no drill's."""
    return student.not_in(select(tables.drills.c.student))


def no_past_drill(student: ColumnElement[str]) -> ColumnElement[bool]:
    """For work lists: a drill is seen by those who practise, until it is over."""
    return student.not_in(select(tables.drills.c.student).where(tables.drills.c.state != RUNNING))
