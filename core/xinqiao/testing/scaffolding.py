"""A new plugin out of templates: its files, and what the conformance suite says of them."""

import keyword
import re
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Final

from xinqiao.testing.conformance.report import QUALITY, Report, conform
from xinqiao.testing.conformance.rig import Subject

PROTOCOLS: Final = ("http", "folder", "webhook")
"""What a new partner may speak: we push by HTTP, files in folders, it pushes signed webhooks."""

CONTRACTS: Final[Mapping[str, str]] = {
    "referral": "CASE_REF, IDENTITY, CONTACT, REFERRAL_REASON",
    "referral_update": "CASE_REF, REFERRAL_REASON",
    "recall": "CASE_REF",
    "task": "CASE_REF, IDENTITY, CONTACT, CARE_TASK",
    "police_report": "CASE_REF, IDENTITY, CONTACT, CRISIS_FACT, LOCATION",
    "signal_update": "CASE_REF",
    "call_hand_off": "CASE_REF, CONTACT, CRISIS_FACT, LOCATION",
}
"""Contracts that a new plugin can be given, with the classes it starts with."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_SUFFIX: Final = ".tmpl"
_PICTURES: Final = {
    "http": """\
 XinQiao gateway                         the partner
 ┌────────────────┐   POST /records      ┌─────────────────────────┐
 │ $name adapter  │ ───────────────────> │ one effect a request id │
 │                │   GET /news?after=n  │ numbers its news        │
 │                │ <─────────────────── │                         │
 └────────────────┘                      └─────────────────────────┘""",
    "folder": """\
 XinQiao gateway       outbox/<request id>.json       the partner
 ┌────────────────┐  ─────────────────────────────>  ┌──────────────────┐
 │ $name adapter  │       inbox/000001.json ...      │ takes, and drops │
 │                │  <─────────────────────────────  │ numbered files   │
 └────────────────┘                                  └──────────────────┘""",
    "webhook": """\
 the partner                                  XinQiao gateway
 ┌───────────────┐  POST, signed webhook   ┌────────────────────────────┐
 │ has news      │ ──────────────────────> │ $name adapter: verifies,   │
 │               │ <────────────────────── │ spools to disk, then 204;  │
 └───────────────┘  204: it is on disk     │ the gateway reads the spool│
                                           └────────────────────────────┘""",
}
_EXAMPLES: Final = {
    "http": "{base_url: https://partner.example.cn, token: !file secrets/$name-token}",
    "folder": "{inbox: /srv/share/$name/in, outbox: /srv/share/$name/out}",
    "webhook": "{listen: 127.0.0.1:8460, secrets: [!file secrets/$name-webhook]}",
}
_HOSTS: Final = {
    "http": "the host and port of base_url",
    "folder": "none, it works in folders",
    "webhook": "none, the partner calls us",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the new plugin is to be; names are one line of letters, digits, blanks and brackets."""

    name: str
    zh: str
    en: str
    partner_kind: str
    protocol: str
    contracts: tuple[str, ...]


def is_name(text: str) -> bool:
    """Whether ``text`` can be a plugin's one name, or a partner kind."""
    return _NAME.fullmatch(text) is not None and not keyword.iskeyword(text) and "__" not in text.strip("_")


def files(wishes: Wishes) -> Mapping[str, str]:
    """The new plugin's files, path within its folder to text. Raises KeyError for a protocol or contract unknown here."""
    values = _values(wishes)
    found: dict[str, str] = {f"xinqiao_{wishes.name}/py.typed": ""}
    base = resources.files("xinqiao.testing") / "scaffold"
    for part in ("common", wishes.protocol):
        for path, text in _templates(base / part, ""):
            found[_place(path, wishes.name)] = Template(text).substitute(values)
    return found


def write(wishes: Wishes, folder: Path) -> list[Path]:
    """Write the plugin into the new folder ``folder/<name>``. Raises FileExistsError where that is, OSError."""
    target = folder / wishes.name
    made = files(wishes)
    target.mkdir(parents=True)
    written: list[Path] = []
    for place, text in sorted(made.items()):
        path = target / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        written.append(path)
    return written


def judge(project: Path, name: str) -> Report:
    """Run the conformance suite over a plugin that is not installed, and write its ``quality.yaml``."""
    with TemporaryDirectory(prefix="xinqiao-new-") as folder, _on_path(str(project), folder):
        info = Path(folder) / f"xinqiao_{name}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: xinqiao-{_dashed(name)}\nVersion: 0.1.0\n", "utf-8"
        )
        (info / "entry_points.txt").write_text(f"[xinqiao]\n{name} = xinqiao_{name}\n", "utf-8")

        def points() -> list[metadata.EntryPoint]:
            found = metadata.distributions(path=[folder])
            return [point for each in found for point in each.entry_points if point.group == "xinqiao"]

        report = conform(Subject(name, entry_points=points))
    (project / QUALITY).write_text(report.quality_yaml(), "utf-8")
    return report


@contextmanager
def _on_path(*folders: str) -> Generator[None, None, None]:
    before, modules = [*sys.path], set(sys.modules)
    sys.path[:0] = folders
    try:
        yield
    finally:
        sys.path[:] = before
        for name in set(sys.modules) - modules:
            if name.startswith("xinqiao_"):
                del sys.modules[name]


def _values(wishes: Wishes) -> dict[str, str]:
    webhook = wishes.protocol == "webhook"
    written = "".join(f"    - contract: {each}\n      classes: [{CONTRACTS[each]}]\n" for each in wishes.contracts)
    own = {"name": wishes.name}
    return own | {
        "dashed": _dashed(wishes.name),
        "cls": "".join(part.capitalize() for part in wishes.name.split("_")),
        "zh": wishes.zh,
        "en": wishes.en,
        "partner_kind": wishes.partner_kind,
        "capabilities": "check, read, listen" if webhook else "check, deliver, read",
        "written": f"  written:\n{written}" if written else "",
        "hosts": _HOSTS[wishes.protocol],
        "listens": "listens: the address in the settings\n" if webhook else "",
        "import_listens": ", listens" if webhook else "",
        "give_listens": "\n            listens=listens," if webhook else "",
        "picture": Template(_PICTURES[wishes.protocol]).substitute(own),
        "example": Template(_EXAMPLES[wishes.protocol]).substitute(own),
    }


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _templates(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _templates(each, f"{prefix}{each.name}/")
        elif each.name.endswith(_SUFFIX):
            yield f"{prefix}{each.name.removesuffix(_SUFFIX)}", each.read_text("utf-8")


def _place(path: str, name: str) -> str:
    named = path.replace("NAME", name)
    return f"xinqiao_{name}/{named}" if named.endswith(".py") and "/" not in named else named
