"""What every file of the repository keeps to; each test names the file and the line that does not."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from xinqiao.adapters import hookspecs
from xinqiao.adapters.host import AdapterHost
from xinqiao.adapters.manifest import load_manifest
from xinqiao.casefile.rules import load_casefile_rules
from xinqiao.config.bundle import load_district, load_gateway
from xinqiao.config.cadence import CadenceFile
from xinqiao.config.calendar import CalendarFile
from xinqiao.config.loader import load
from xinqiao.contract import fields, methods
from xinqiao.disclosure.bases import load_bases
from xinqiao.disclosure.policy import load_policy
from xinqiao.documents.template import load_template
from xinqiao.exchange.report_rules import load_reports
from xinqiao.screening.instruments import load_instruments
from xinqiao.screening.triage import load_triage
from xinqiao.screening.trust import load_signal_policy
from xinqiao.server.access_rules import load_access_rules
from xinqiao.server.audit.rules import load_audit_rules
from xinqiao.server.retention import load_retention

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
GENERATED = (ROOT / "core/xinqiao/api", ROOT / "core/buf")
HARD_LIMIT = 600


def _written(*folders: str) -> Iterator[Path]:
    """Python files that people write."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(path.is_relative_to(generated) for generated in GENERATED):
                yield path


def _calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def test_no_file_is_longer_than_600_lines():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in _written("core", "plugins", "protos", "tests")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > HARD_LIMIT
    }
    assert not long


def test_async_functions_stand_in_the_server_only():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _written("core", "plugins")
        if "core/xinqiao/server" not in path.as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.AsyncFunctionDef)
    ]
    assert not found


def test_only_the_clock_asks_the_operating_system_for_the_time():
    asking = re.compile(r"(datetime|date)\.(now|today|utcnow)|time\.(time|time_ns|localtime|gmtime)")
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in _written("core", "plugins")
        if path != ROOT / "core/xinqiao/contract/clock.py" and "tests" not in path.parts
        for line, name in _calls(path)
        if asking.fullmatch(name)
    ]
    assert not found


def test_imports_inside_functions_stand_only_where_a_start_would_suffer():
    # The pytest plugin too: importing it must not load the code that coverage is about to watch.
    # The migrations too: alembic doubles the start of a gateway whose schema is already right.
    # Uploads too: numpy is a fifth of a gateway at rest, and only a batch of forms needs it.
    # The press too: a PDF library takes half as long to load as the whole gateway, and most nodes never print.
    # An HTTP client, where Vault holds the master key.
    # The scheduler's library, after the port is open; certificates, where a deny list is; reflection, where it is on.
    allowed = (
        "core/xinqiao/cli/commands/", "core/xinqiao/store/migrate.py", "core/xinqiao/testing/pytest_plugin.py",
        "core/xinqiao/documents/press.py", "core/xinqiao/server/uploads.py", "core/xinqiao/server/scheduler.py",
        "core/xinqiao/server/identity.py", "core/xinqiao/server/runtime.py", "core/xinqiao/store/providers.py",
    )  # fmt: skip
    found = [
        f"{path.relative_to(ROOT)}:{inner.lineno}"
        for path in _written("core", "plugins")
        if not path.relative_to(ROOT).as_posix().startswith(allowed) and "tests" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert not found


def test_every_module_says_what_it_is():
    silent = [
        str(path.relative_to(ROOT))
        for path in _written("core", "plugins")
        if "tests" not in path.parts and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent


def test_every_hook_is_documented_and_says_what_happens_when_it_raises():
    found = [node for node in ast.parse(Path(hookspecs.__file__).read_text(encoding="utf-8")).body
             if isinstance(node, ast.FunctionDef)]  # fmt: skip
    assert found
    for node in found:
        text = ast.get_docstring(node) or ""
        assert "Return" in text, node.name
        assert "raises" in text, node.name


def test_every_proto_field_has_a_class_and_every_rpc_a_policy():
    compiled = [fields.plan(kind.DESCRIPTOR) for method in methods.methods().values()
                for kind in (method.request, method.response)]  # fmt: skip
    assert len(compiled) > 20
    everything = 0
    for module in methods.SERVED:
        for message in module.DESCRIPTOR.message_types_by_name.values():
            everything |= fields.plan(message).mask
    assert everything


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_one_name_in_five_places(folder: Path):
    name = folder.name
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == f"xinqiao-{name}"
    assert project["entry-points"]["xinqiao"] == {name: f"xinqiao_{name}"}
    assert (folder / f"xinqiao_{name}" / "__init__.py").exists()
    assert load_manifest(folder / "manifest.yaml").domain == name
    assert name in AdapterHost.load([name]).kinds


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_every_plugin_has_the_same_files(folder: Path):
    module = f"xinqiao_{folder.name}"
    wanted = ["README.md", "manifest.yaml", "quality.yaml", "tests"]
    wanted += [f"{module}/{name}" for name in ("__init__.py", "adapter.py", "settings.py", "wire.py", "simulator.py")]
    assert [name for name in wanted if not (folder / name).exists()] == []


def test_every_list_of_plugins_in_the_project_names_each():
    """Where a tool cannot find them by itself, a plugin that is left out would not be checked, and nobody would notice."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    modules = {f"xinqiao_{folder.name}" for folder in PLUGINS}
    assert tool["uv"]["workspace"]["members"] == ["plugins/*"]
    assert {name for name in tool["uv"]["sources"] if name != "xinqiao"} == {f"xinqiao-{f.name}" for f in PLUGINS}
    linter = tool["importlinter"]
    independent = next(each for each in linter["contracts"] if each["type"] == "independence")
    for names in (
        tool["coverage"]["run"]["source_pkgs"],
        tool["mypy"]["packages"],
        linter["root_packages"],
        independent["modules"],
    ):
        assert {name for name in names if name != "xinqiao"} == modules


def _loader(path: Path) -> Callable[[Path], object]:
    place = path.relative_to(CONFIG).as_posix()
    loaders: dict[str, Callable[[Path], object]] = {
        r"gateway[^/]*\.yaml": lambda file: load_gateway(file, AdapterHost.load(None).settings_models()),
        r"districts/[^/]+\.yaml": load_district,
        r"instruments/[^/]+\.yaml": lambda file: load_instruments(file.parent),
        r"triage/[^/]+\.yaml": lambda file: load_triage(file, load_instruments(CONFIG / "instruments")),
        r"policy/disclosure\.yaml": load_policy,
        r"documents/[^/]+\.yaml": lambda file: load_template(file, load_policy(CONFIG / "policy" / "disclosure.yaml")),
        r"policy/legal_bases\.yaml": load_bases,
        r"policy/retention\.yaml": load_retention,
        r"reports/[^/]+\.yaml": lambda file: load_reports(file.parent)[file.stem],
        r"policy/audit\.yaml": load_audit_rules,
        r"policy/signals\.yaml": lambda file: load_signal_policy(file, load_bases(file.parent / "legal_bases.yaml")),
        r"policy/casefile\.yaml": load_casefile_rules,
        r"policy/access\.yaml": load_access_rules,
        r"calendars/[^/]+\.yaml": lambda file: load(file, CalendarFile),
        r"cadence/[^/]+\.yaml": lambda file: load(file, CadenceFile),
    }
    found = [loader for pattern, loader in loaders.items() if re.fullmatch(pattern, place)]
    assert found, f"no test loads config/{place}: add its loader here"
    return found[0]


@pytest.mark.parametrize("path", sorted(CONFIG.rglob("*.yaml")), ids=lambda path: path.relative_to(CONFIG).as_posix())
def test_every_file_of_the_configuration_loads(path: Path):
    assert _loader(path)(path)


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"], capture_output=True, check=False
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git work tree")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_home():
    telling = re.compile(rb"/home/[a-z]|/root/|/Users/[A-Za-z]|file:///(home|opt|root|work)|/work/(main|shared)")
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in _tracked()
        if path != Path(__file__) and (match := telling.search(path.read_bytes()))
    ]
    assert not found


def test_the_pinned_requirements_name_no_host_and_hash_everything():
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"://|--(extra-)?index-url|--find-links", text), name
        pinned = [block for block in re.split(r"\n(?=[a-z])", text) if re.match(r"[a-z0-9._-]+==", block)]
        assert len(pinned) > 30
        assert [block.split("\n")[0] for block in pinned if "--hash=sha256:" not in block] == []


def test_the_two_requirement_files_pin_the_same_versions():
    def pins(name: str) -> dict[str, str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return {
            line.split("==")[0] + line.partition(";")[2]: line for line in lines if re.match(r"[a-z0-9._-]+==", line)
        }

    main, dev = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {key: dev[key] for key in main if key in dev} == {key: main[key] for key in main if key in dev}


def test_every_yaml_of_a_plugin_is_plain_yaml():
    for folder in PLUGINS:
        for name in ("manifest.yaml", "quality.yaml"):
            assert isinstance(yaml.safe_load((folder / name).read_text(encoding="utf-8")), dict)
