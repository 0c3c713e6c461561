"""The committed stubs are what `make generate` writes from `protos/`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for top in ("xinqiao/api", "buf")
        for path in sorted((folder / top).rglob("*.py*"))
        if path.suffix in (".py", ".pyi")
    }


def test_the_stubs_are_fresh(tmp_path: Path):
    # protoc looks for its plugins on PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, ROOT / "protos" / "generate.py", tmp_path]
    subprocess.run(command, check=True, timeout=120, env=os.environ | {"PATH": path})
    fresh, committed = _files(tmp_path), _files(ROOT / "core")
    assert fresh.keys() == committed.keys()
    assert [name for name, content in fresh.items() if committed[name] != content] == []


def test_the_contracts_are_formatted_and_linted():
    buf = Path(sys.executable).with_name("buf")
    for arguments in (["format", "--diff", "--exit-code"], ["lint"]):
        done = subprocess.run([buf, *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
