"""`xinqiao adapters record` against a running gateway, and `xinqiao adapters replay` as a process to be called."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import yaml


def test_record_begins_and_ends_at_a_running_gateway(make_town, run) -> None:
    with make_town() as town:
        settings = yaml.safe_load(town.gate.config.read_text("utf-8"))  # the town's adapters are no installed plugins
        config = town.gate.folder / "client.yaml"
        config.write_text(yaml.safe_dump(settings | {"adapters": {}}, allow_unicode=True), "utf-8")
        where = ("--config", config, "--address", f"127.0.0.1:{town.gate.gateway.port}")
        begun = run("adapters", "record", town.HOSPITAL, "--reason", "REPAIR:t-1", "--minutes", 5, "--json", *where)
        assert begun.returncode == 0, begun.stderr
        assert (town.gate.folder / "recordings" / json.loads(begun.stdout)["file"]).is_file()
        assert town.gate.gateway.host.agencies[town.HOSPITAL].workers.tape.running
        ended = run("adapters", "record", town.HOSPITAL, "--reason", "REPAIR:t-1", "--stop", *where, XINQIAO_LANG="zh")
        assert ended.stdout == f"{town.HOSPITAL} 的录制已结束\n"
        assert not town.gate.gateway.host.agencies[town.HOSPITAL].workers.tape.running


def test_replay_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    body = {"form": "json", "charset": "utf-8", "text": '{"ok": true}'}
    answer = {"status": 200, "headers": {"content-type": "application/json"}, "body": body}
    asked = {"method": "GET", "target": "/status", "headers": {}, "body": {**body, "form": "text", "text": ""}}
    letter = {"way": "in", "file": "visits.csv", "body": {**body, "form": "csv", "text": "day\r\n"}}
    lines = [{"recording": 1, "plugin": "grid"}, {"by": "gateway", "http": asked, "answer": answer}, letter]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "inbox").mkdir()
    command = [sys.executable, "-m", "xinqiao.cli", "adapters", "replay", "r.jsonl", "--lay", "inbox"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"XINQIAO_LANG": "en"}, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.partition("HTTP at ")[2].partition(",")[0]
        with urllib.request.urlopen(f"{address}/api/status", timeout=5) as found:
            assert json.loads(found.read()) == {"ok": True}
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert (tmp_path / "inbox" / "000-visits.csv").read_bytes() == b"day\r\n" and "1 files laid" in line


def test_what_is_no_recording_is_refused_in_both_languages(run, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}")
    for language in ("en", "zh"):
        refused = run("adapters", "replay", tmp_path / "x", XINQIAO_LANG=language)
        assert refused.returncode == 64 and "adapters record" in refused.stderr
