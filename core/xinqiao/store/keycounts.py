"""How many students' keys there are and how many were destroyed: counted in the key database, no key is opened."""

from xinqiao.store.databases import make_engine, parse_url
from xinqiao.store.migrate import check_keys
from xinqiao.store.sealing import SUITE_IDS
from xinqiao.store.sql import func, select
from xinqiao.store.tables import keks, student_keys, tombstones


def key_counts(url: str, start_us: int, end_us: int) -> dict[str, int]:
    """Counts by name: subjects with a key by suite, those whose keys were destroyed, also from ``start_us`` to
    ``end_us`` (exclusive), and key-encryption keys in use and retired.

    Subjects are students, and mailboxes of the social workers. Raises SchemaMismatch, and Refusals about the URL.
    """
    place = parse_url(url, "key")
    check_keys(place)
    engine = make_engine(place, "reader", readers=1)
    try:
        with engine.connect() as connection, connection.begin():
            suite, subjects = student_keys.c.suite, func.count(student_keys.c.student.distinct())
            held = {
                int(number): int(count) for number, count in connection.execute(select(suite, subjects).group_by(suite))
            }
            gone = tombstones.c.at_us
            ever, lately = connection.execute(
                select(func.count(), func.count().filter((gone >= start_us) & (gone < end_us))).select_from(tombstones)
            ).one()
            used, retired = connection.execute(
                select(
                    func.count().filter(keks.c.retired_us == 0), func.count().filter(keks.c.retired_us > 0)
                ).select_from(keks)
            ).one()
    finally:
        engine.dispose()
    return {
        **{f"subjects.alive.{name}": held.get(number, 0) for name, number in SUITE_IDS.items()},
        "subjects.destroyed": int(ever), "subjects.destroyed_in_year": int(lately),
        "key_encryption_keys.in_use": int(used), "key_encryption_keys.retired": int(retired),
    }  # fmt: skip
