"""Files as real tools and studies published them; skipped where they are not at hand."""

from pathlib import Path

import pytest

from xinqiao.adapters.files import Column, Findings, Row, open_archive, read_table

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def at_hand(path: Path) -> Path:
    if not path.exists():
        pytest.skip("the published files are not here")
    return path


def test_the_item_scores_of_the_mexican_study_add_up_and_missing_answers_are_listed() -> None:
    path = at_hand(DATA / "items-mx-medstudents" / "depression_anxiety_survey_data.csv")
    items = [Column(f"phq{number}") for number in range(1, 10)]
    findings = Findings(accept_valid_rows=True)
    columns = [Column("id"), *items, Column("phq_score", required=False)]
    table = read_table(path, encoding="utf-8", columns=columns, name="mx.csv", extra="name", findings=findings)

    def answers_add_up(row: Row) -> bool:
        answers = sum(row.integer(item.name, 0, 3) for item in items)
        return row.integer("phq_score", 0, 27) == answers

    sums = list(findings.parsed(table, answers_add_up))
    assert len(sums) > 150
    assert all(sums)
    assert {finding.reason for finding in findings.rejected} == {"DATA/NUMBER"}  # the study wrote NA for no answer
    assert findings.warnings


def test_the_malaysian_file_with_a_byte_order_mark_is_read() -> None:
    path = at_hand(DATA / "items-ukm-undergraduates" / "Psychological_aspects.csv")
    items = [Column(f"D{number}") for number in range(1, 10)]
    table = read_table(path, encoding="utf-8", columns=items, name="ukm.csv", extra="ignore")
    assert sum(1 for row in table if all(0 <= row.integer(item.name, 0, 3) <= 3 for item in items)) > 100


@pytest.mark.parametrize("name", ["Test_full_data_set.zip", "oneroster_test_data.zip"])
def test_published_oneroster_archives_open_and_their_tables_are_read(name: str) -> None:
    path = at_hand(DATA / "oneroster" / name)
    with open_archive(path, name=name) as archive:
        archive.verify()
        assert "manifest.csv" in archive.names()
        with archive.open("orgs.csv") as stream:
            columns = [Column("sourcedId"), Column("name")]
            table = list(read_table(stream, encoding="utf-8", columns=columns, name="orgs.csv", extra="ignore"))
    assert table
    assert all(row.text("sourcedId") for row in table)
