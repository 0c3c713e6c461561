"""Score sheets in XLSX: the checked reader against python-calamine's bare read of the same file, in turn.

``python tests/bench/xlsx.py [--rows 20000]``
"""

import argparse
import io
import random
import statistics
import time
from collections.abc import Callable

import openpyxl
from python_calamine import CalamineWorkbook

from xinqiao.adapters.files import Column, Findings
from xinqiao.adapters.files.workbook import read_workbook
from xinqiao.cli.serving import tune_interpreter
from xinqiao_school.notes import Notes
from xinqiao_school.settings import SchoolSettings
from xinqiao_school.sheets import read_scores

HEADER = ["学号", "日期", *(f"phq{n}" for n in range(1, 10)), *(f"gad{n}" for n in range(1, 8))]


def book(rows: int) -> bytes:
    """A sheet as Excel writes it: shared strings for ids and dates, numbers for answers."""
    chance = random.Random(1)
    made = openpyxl.Workbook(write_only=True)
    sheet = made.create_sheet("scores")
    sheet.append(HEADER)
    for row in range(rows):
        sheet.append([f"SYN-{row:06}", "2026-10-12", *(chance.choice((0, 0, 0, 1, 2, 3)) for _ in range(16))])
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def bare(data: bytes) -> int:
    with CalamineWorkbook.from_filelike(io.BytesIO(data)) as opened:
        return sum(1 for _ in opened.get_sheet_by_index(0).iter_rows())


def checked(data: bytes) -> int:
    columns = [Column(name) for name in HEADER]
    return sum(1 for _ in read_workbook(io.BytesIO(data), columns=columns, name="s.xlsx", findings=Findings()))


def forms(data: bytes) -> int:
    settings = SchoolSettings.model_validate({"inbox": "in", "outbox": "out", "school": "S"})
    return len(read_scores(io.BytesIO(data), "s.xlsx", "s.xlsx", settings, Notes("s.xlsx"), None).students)


def _seconds(work: Callable[[bytes], int], data: bytes) -> float:
    begin = time.process_time()
    work(data)
    return time.process_time() - begin


def measure(data: bytes, rounds: int) -> dict[str, float]:
    """Processor seconds of each, in turn, medians."""
    tune_interpreter()  # as the gateway does
    taken: dict[str, list[float]] = {"calamine alone": [], "read_workbook": [], "to forms": []}
    for _ in range(rounds):
        for name, work in (("calamine alone", bare), ("read_workbook", checked), ("to forms", forms)):
            taken[name].append(_seconds(work, data))
    return {name: statistics.median(all_of) for name, all_of in taken.items()}


def lines(rows: int, rounds: int) -> list[tuple[str, str, str, float, str, float, str, str]]:
    """Name, figure, baseline, ratio, direction, target, unit and note, as ``run.Result`` takes them."""
    found = measure(book(rows), rounds)
    base = found["calamine alone"]
    note = "processor time; baseline: python-calamine's bare read"
    return [
        (f"XLSX, {rows:,} rows, {what}", f"{found[key] * 1e3:.0f} ms", f"{base * 1e3:.0f} ms", found[key] / base, "<=",
         3, "", note)
        for what, key in (("checked", "read_workbook"), ("to forms", "to forms"))
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    data = book(options.rows)
    if options.profile:
        import cProfile
        import pstats

        profile = cProfile.Profile()
        profile.runcall(forms, data)
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)
    taken = measure(data, options.rounds)
    base = taken["calamine alone"]
    print(f"XLSX, {options.rows:,} rows x {len(HEADER)} columns, {len(data):,} bytes (CPU seconds, median)")
    for name, middle in taken.items():
        print(
            f"  {name:16} {middle:7.3f} s  {middle / base:5.2f} x"
            + ("  target <= 3" if name != "calamine alone" else "")
        )


if __name__ == "__main__":
    main()
