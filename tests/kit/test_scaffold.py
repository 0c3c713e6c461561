"""``xinqiao adapters new``: what it writes works at once, and what it is asked wrongly it refuses with a way out."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer

from xinqiao.adapters.manifest import load_manifest
from xinqiao.cli import main
from xinqiao.cli.texts import kit
from xinqiao.testing import scaffolding

ROOT = Path(__file__).resolve().parents[2]
PROTOCOLS = scaffolding.PROTOCOLS


class Venv:
    """An environment of its own that sees this one's packages, so that nothing is installed into this one."""

    def __init__(self, folder: Path) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        self.python = str(folder / "bin" / "python")
        (site,) = folder.glob("lib/python*/site-packages")
        outer = sysconfig.get_paths()["purelib"]
        (site / "zz-outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n", "utf-8")

    def install(self, *what: str) -> None:
        pip = (sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", "install", "-q")
        run(*pip, "--no-deps", "--no-build-isolation", "--no-index", *what)


def run(*command: str, cwd: Path | None = None) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_from_nothing_to_green_tests_in_less_than_a_minute(tmp_path: Path):
    venv = Venv(tmp_path / "venv")
    began = time.monotonic()
    folder = str(tmp_path / "plugins")
    out = run(venv.python, "-m", "xinqiao.cli", "adapters", "new", "civil_affairs", "--folder", folder, "--json")
    assert json.loads(out)["tier"] == "gold"  # it takes no packages
    venv.install("-e", str(tmp_path / "plugins" / "civil_affairs"))
    tests = str(tmp_path / "plugins" / "civil_affairs" / "tests")
    run(venv.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, cwd=tmp_path)
    assert time.monotonic() - began < 60
    shown = json.loads(run(venv.python, "-m", "xinqiao.cli", "adapters", "conform", "civil_affairs", "--json"))
    assert shown["tier"] == "gold"  # it takes no packages


def test_an_installed_wheel_can_do_it_without_the_repository(tmp_path: Path):
    script = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    wheel = tmp_path / run(sys.executable, "-c", script, str(tmp_path), cwd=ROOT).split()[-1]
    names = zipfile.ZipFile(wheel).namelist()
    assert "xinqiao/testing/conformance/rules.yaml" in names
    assert sum(name.endswith(".tmpl") for name in names) == sum(1 for _ in (ROOT / "core").rglob("*.tmpl"))
    venv = Venv(tmp_path / "venv")
    venv.install(str(wheel))
    where = run(venv.python, "-c", "import xinqiao; print(xinqiao.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path)
    new = ("-m", "xinqiao.cli", "adapters", "new", "tax", "--protocol", "folder", "--folder", "here", "--json")
    assert json.loads(run(venv.python, *new, cwd=tmp_path))["tier"] == "gold"  # it takes no packages


def test_what_is_written_is_clean_to_ruff_and_mypy(tmp_path: Path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "core").symlink_to(ROOT / "core")
    long = "a_name_that_is_as_long_as_allowed"[:32]
    for name, protocol in (*((f"kind_{each}", each) for each in PROTOCOLS), (long, "webhook")):
        contracts = () if protocol == "webhook" else tuple(scaffolding.CONTRACTS)
        wishes = scaffolding.Wishes(name, "示例（机构）", "Example agency", "hospital", protocol, contracts)
        scaffolding.write(wishes, tmp_path / "plugins")
    run(sys.executable, "-m", "ruff", "check", "--no-cache", "plugins", cwd=tmp_path)
    run(
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--no-cache",
        "--check",
        *(f"plugins/kind_{each}" for each in PROTOCOLS),
        cwd=tmp_path,
    )
    packages = [str(path) for path in sorted(tmp_path.glob("plugins/*/xinqiao_*"))]
    paths = ":".join(["core", *(str(path.parent) for path in map(Path, packages))])
    config = (tmp_path / "pyproject.toml").read_text("utf-8").replace('mypy_path = ["core"]', f'mypy_path = "{paths}"')
    (tmp_path / "pyproject.toml").write_text(config, "utf-8")
    run(sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), *packages, cwd=tmp_path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_it_has_the_files_that_every_plugin_has_and_one_name(tmp_path: Path, protocol: str):
    assert main(["adapters", "new", "bureau", "--protocol", protocol, "--folder", str(tmp_path)]) == 0
    project = tmp_path / "bureau"
    for name in ("README.md", "manifest.yaml", "quality.yaml", "tests", "xinqiao_bureau/py.typed"):
        assert (project / name).exists(), name
    for name in ("__init__", "adapter", "settings", "wire", "simulator"):
        assert (project / "xinqiao_bureau" / f"{name}.py").exists(), name
    about = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    assert about["name"] == "xinqiao-bureau"
    assert about["entry-points"]["xinqiao"] == {"bureau": "xinqiao_bureau"}
    assert load_manifest(project / "manifest.yaml").domain == "bureau"
    assert "tier: gold" in (project / "quality.yaml").read_text("utf-8")
    assert "$" not in (project / "README.md").read_text("utf-8").replace("```", "")


@pytest.mark.parametrize(
    "name", ["Bureau", "1bureau", "class", "tax-bureau", "税务", "a" * 33, "a b", "../up", "x/y", "a__b"]
)
def test_a_bad_name_is_refused_with_an_example(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str):
    assert main(["adapters", "new", name, "--folder", str(tmp_path)]) == 64
    assert "civil_affairs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--protocol", "carrier-pigeon"], "http, folder, webhook"),
        (["--contracts", "referral,gossip"], ", ".join(scaffolding.CONTRACTS)),
        (["--protocol", "webhook", "--contracts", "referral"], "--contracts"),
        (["--partner", "Tax Bureau"], "hospital"),
        (["--zh", 'a "quoted" name'], "--zh"),
        (["--en", "two\nlines"], "--en"),
        (["--en", "${name}"], "--en"),
        (["--zh", "Same", "--en", "Same"], "differ"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
):
    assert main(["adapters", "new", "bureau", "--folder", str(tmp_path), *flags]) == 64
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "bureau").mkdir()
    assert main(["adapters", "new", "bureau", "--folder", str(tmp_path)]) == 64
    assert "--folder" in capsys.readouterr().err
    assert main(["adapters", "new", "hospital", "--folder", str(tmp_path)]) == 64
    assert "installed already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["bureau"]


def test_it_says_so_in_chinese_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--lang", "zh", "adapters", "new", "Bureau", "--folder", str(tmp_path)]) == 64
    assert "小写英文单词" in capsys.readouterr().err


def test_every_contract_it_offers_is_named_and_conforms(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    everything = ",".join(scaffolding.CONTRACTS)
    for spoken in kit.TABLE["opt.new_contracts"]:
        assert all(contract in spoken for contract in scaffolding.CONTRACTS)
    assert main(["adapters", "new", "bureau", "--contracts", everything, "--folder", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tier"] == "gold"  # it takes no packages
    made = load_manifest(tmp_path / "bureau" / "manifest.yaml")
    assert [use.contract for use in made.contracts.written] == everything.split(",")


def test_on_a_terminal_it_asks_what_no_flag_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    answers = {
        "Chinese": "民政局",
        "English": "Civil affairs",
        "Kind": "civil_affairs",
        "What": "folder",
        "Contracts": "recall",
    }
    asked: list[str] = []

    def prompt(question: str, default: str) -> str:
        asked.append(question)
        return next((answer for word, answer in answers.items() if word in question), default)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "prompt", prompt)
    assert main(["adapters", "new", "bureau", "--en", "Civil bureau", "--folder", str(tmp_path)]) == 0
    made = load_manifest(tmp_path / "bureau" / "manifest.yaml")
    assert (made.names.zh, made.names.en, made.partner_kind) == ("民政局", "Civil bureau", "civil_affairs")
    assert [use.contract for use in made.contracts.written] == ["recall"]
    assert len(asked) == 4  # not what the flag says
