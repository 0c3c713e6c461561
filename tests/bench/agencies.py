"""Fifty enabled agencies behind the gateway: what they cost whoever submits a form.

``python tests/bench/agencies.py``
"""

import os
import statistics
import tempfile
from pathlib import Path

import deployment
import run
import yaml
from keys import processor_s
from load import Client

AGENCIES = 50
_TURN_S = 3.0
_CALLERS = 16


def _with_agencies(folder: Path) -> None:
    """Give the deployment schools, each a partner with an adapter that looks into its inbox every two seconds."""
    path = folder / "gateway.yaml"
    config = yaml.safe_load(path.read_text("utf-8"))
    for number in range(AGENCIES):
        name, school = f"school-{number:02}", f"32058310{number:02}"
        inbox, outbox = folder / name / "inbox", folder / name / "outbox"
        inbox.mkdir(parents=True)
        outbox.mkdir()
        config["partners"][name] = {
            "kind": "school", "names": {"zh": f"第{number}中学", "en": f"School {number}"},
            "spiffe": f"spiffe://xinqiao.example/partner/{name}", "roles": ["SCHOOL_PLATFORM"], "schools": [school],
            "agreement": {"number": name, "valid_from": "2026-01-01", "valid_to": "2028-12-31"},
            "controller_type": "joint",
        }  # fmt: skip
        settings = {"inbox": str(inbox), "outbox": str(outbox), "school": school}
        config["adapters"][name] = {"adapter": "school", "settings": settings}
    path.write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")


def cost(rounds: int) -> tuple[float, float]:
    """Processor microseconds of the gateway a submission, without agencies and with fifty, in turn, medians."""
    with tempfile.TemporaryDirectory(prefix="xinqiao-bench-") as name:
        alone, many = Path(name) / "alone", Path(name) / "many"
        for folder in (alone, many):
            folder.mkdir()
            deployment.create(folder)
        _with_agencies(many)
        taken: dict[Path, list[float]] = {alone: [], many: []}
        with run.server("district", alone) as (port, first), run.server("district", many) as (other, second):
            servers = {alone: (port, first.pid), many: (other, second.pid)}
            for folder, (at, _) in servers.items():
                deployment.register(folder, at)
            requests = deployment.submissions(os.getpid() % 100_000)
            for number in range(rounds + 1):
                for folder, (at, pid) in servers.items():
                    client = Client(folder, at, deployment.SUBMIT, _CALLERS)
                    before = processor_s(pid)
                    load = client.run(requests, _TURN_S)
                    client.close()
                    if load.failed:
                        raise RuntimeError(f"{load.failed} of {load.calls} submissions failed")
                    if number:  # the first turn warms up
                        taken[folder].append((processor_s(pid) - before) / load.calls * 1e6)
    return statistics.median(taken[alone]), statistics.median(taken[many])


def lines(rounds: int) -> list[tuple[str, str, str, float, str, float, str, str]]:
    """As ``run.Result`` takes them."""
    alone, many = cost(rounds)
    return [
        (
            f"SubmitAssessment with {AGENCIES} agencies", f"{many:,.0f} us", f"{alone:,.0f} us", many / alone, "<=", 1.1,
            "", f"processor time of the gateway a call, {_CALLERS} callers; baseline: no agency",
        )
    ]  # fmt: skip


if __name__ == "__main__":
    for line in lines(3):
        print(line)
