"""What the tally makes of single rows: whose words it repeats, decisions across New Year, gaps in signing."""

from typing import Any

from xinqiao.journal.entry import ZERO_HASH, Entry
from xinqiao.server.audit.tally import Tally, Year

YEAR = Year(2026)
HOUR_US = 3_600_000_000


def row(seq: int, at_us: int, **words: Any) -> Entry:
    given: dict[str, Any] = {"kind": "released", "decision": "permit", "partner": "", "purpose": 2, "classes": 0, "resource": "",
             "reason": "", "basis": "", "actor": "a", "writer": "main"} | words  # fmt: skip
    return Entry(
        given["writer"], seq, at_us, given["kind"], given["decision"], given["actor"], given["partner"],
        given["purpose"], given["classes"], None, given["resource"], given["reason"], given["basis"], "1",
        ZERO_HASH, ZERO_HASH, ZERO_HASH,
    )  # fmt: skip


def tally(*entries: Entry, **checkpoints: list[tuple[int, int]]) -> Tally:
    made = Tally(YEAR, checkpoints, 4 * HOUR_US)
    assert list(made.watch(entries)) == list(entries)
    return made


def test_a_reason_is_repeated_only_where_the_core_wrote_it() -> None:
    at = YEAR.start_us
    made = tally(
        row(1, at, kind="refused", decision="deny", reason="CONSENT_NONE"),
        row(2, at, kind="refused", decision="deny", reason="张三的母亲来电"),
        row(3, at, kind="delivery.cancelled", decision="deny", reason="ZHANGSAN"),
    )
    assert {reason for _, _, reason in made.denials} == {"CONSENT_NONE", "refused", "delivery.cancelled"}


def test_a_year_begins_and_ends_at_midnight_in_beijing() -> None:
    made = tally(*(row(seq, at) for seq, at in enumerate(
        (YEAR.start_us - 1, YEAR.start_us, YEAR.end_us - 1, YEAR.end_us), 1
    )))  # fmt: skip
    assert made.rows == 2


def test_a_decision_counts_whenever_and_on_whatever_chain_it_came() -> None:
    opened = YEAR.end_us - HOUR_US
    decided = row(1, opened + 2 * HOUR_US, kind="override.decided", resource="overrides/1", actor="chen",
                  reason="OVERRIDE_STATE_APPROVED", writer="a")  # fmt: skip
    made = tally(decided, row(1, opened, kind="override.opened", resource="overrides/1", writer="b"))
    (use,) = made.uses
    assert (use.decided_by, use.outcome, use.in_time, made.rows) == ("chen", "APPROVED", True, 1)
    late = row(1, opened + 25 * HOUR_US, kind="override.decided", resource="overrides/1")
    assert not tally(row(1, opened, kind="override.opened", resource="overrides/1"), late).uses[0].in_time
    assert not tally(row(1, opened, kind="override.opened", resource="overrides/1")).uses[0].in_time


def test_a_gap_in_signing_is_the_wait_of_the_first_row_after_a_checkpoint() -> None:
    at = YEAR.start_us
    entries = (row(1, at), row(2, at + HOUR_US), row(3, at + 2 * HOUR_US), row(4, at + 9 * HOUR_US))
    made = tally(*entries, main=[(2, at + 3 * HOUR_US), (3, at + 7 * HOUR_US)])
    assert (made.longest_open_us, made.interrupted) == (5 * HOUR_US, 1)  # the fourth row is not signed yet


def test_what_retention_erased_is_read_from_its_row() -> None:
    made = tally(
        row(
            1, YEAR.start_us, kind="retention.erased", resource="retention/deliveries", reason="rows:7 days:90 rules:1"
        ),
        row(
            2, YEAR.start_us, kind="retention.erased", resource="retention/deliveries", reason="rows:3 days:90 rules:1"
        ),
    )
    assert made.erased == {"deliveries": 10}
