"""A random year of referrals with crashes, through the real services: prints what happened and counts broken promises.

    python tests/tools/replay.py --seed 7 --days 365        (or: make replay ARGS="--seed 7")

Ends with exit code 1 when an open referral ever had no holder or no deadline, or an acknowledged one was lost.
"""

import argparse
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

from xinqiao.testing.histories import Histories

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "gateway.example.yaml"
_DAY_US = 86_400_000_000


def replay(seed: int, days: int, seconds: float, folder: Path) -> tuple[Histories, int, float]:
    """Play until ``days`` are over or ``seconds`` have passed; the town, its steps and the days it lived."""
    random.seed(seed)  # the delivery workers draw their retry waits from here
    town = Histories(folder, EXAMPLE, random.Random(seed))
    start_us, began, steps = town.clock.now_us(), time.monotonic(), 0
    while town.clock.now_us() < start_us + days * _DAY_US and time.monotonic() - began < seconds:
        town.step()
        steps += 1
    return town, steps, (town.clock.now_us() - start_us) / _DAY_US


def main() -> int:
    """Play one year and print it."""
    parser = argparse.ArgumentParser(description="A random year of referrals with crashes.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seconds", type=float, default=50.0, help="stop after so many seconds at the latest")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        town, steps, lived = replay(given.seed, given.days, given.seconds, Path(folder) / "town")
        try:
            _print(town, given.seed, steps, lived)
        finally:
            town.close()
    return 1 if town.violations else 0


def _print(town: Histories, seed: int, steps: int, lived: float) -> None:
    states = town.summary()
    print(f"seed {seed}: {lived:.0f} days, {steps} steps, {sum(states.values())} referrals")
    print("\nreferrals at the end")
    for word, count in states.items():
        print(f"  {word:<28}{count:>6}")
    print("\nwhat happened")
    for word, count in sorted(town.done.items(), key=lambda each: (-each[1], each[0])):
        if count > 4 or word.startswith(("crash", "killed")):
            print(f"  {word:<28}{count:>6}")
    print("\njournal")
    for word, count in town.told().items():
        print(f"  {word:<28}{count:>6}")
    print(f"\nviolations: {len(town.violations)}")
    for line in town.violations[:10]:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
