"""`xinqiao adapters conform`: judge one adapter, or a partner's own service, by the conformance suite."""

from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from xinqiao.adapters.errors import AdapterConfigError
from xinqiao.adapters.host import AdapterHost
from xinqiao.adapters.transport import parse_endpoint
from xinqiao.cli.exits import DATA
from xinqiao.cli.output import as_json, say, warn
from xinqiao.cli.tables import coloured, table
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal
from xinqiao.testing.conformance.registry import Outcome, Words
from xinqiao.testing.conformance.remote import REMOTE, Service, manifest_path, remote_subject
from xinqiao.testing.conformance.report import QUALITY, Report, plugin_folder
from xinqiao.testing.conformance.report import conform as run_suite
from xinqiao.testing.conformance.rig import Subject

_STYLES = {
    "passed": "green", "failed": "bold red", "not_shown": "yellow", "not_declared": "cyan", "not_applicable": "dim",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trust:
    """The TLS files of a remote service."""

    authority: Path | None
    certificate: Path | None
    key: Path | None


def conform(texts: Texts, name: str, remote: str, trust: Trust, *, write: bool, json: bool) -> int:
    """Run the suite and print its report; 65 when a case failed."""
    subject = _service(texts, name, remote, trust) if remote else _plugin(texts, name)
    if remote and write:
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("conform.remote_write"))
    report = run_suite(subject)
    if json:
        as_json(report.plain() | ({"remote": remote} if remote else {}))
    else:
        for variant, each in report.variants.items():
            _show(texts, each, f"{name} {variant}")
        _show(texts, replace(report, variants={}), name)
        if report.variants:
            say(texts("conform.lowest", name=name, tier=texts(f"tier.{report.tier}")))
    if write:
        file = plugin_folder(name) / QUALITY
        file.write_text(report.quality_yaml(), "utf-8")
        warn(texts("conform.wrote", file=file))
    return DATA if report.failed else 0


def _plugin(texts: Texts, name: str) -> Subject:
    installed = AdapterHost.load(None)
    if name not in installed.kinds and name not in installed.failures:
        names = ", ".join(sorted(installed.kinds)) or "-"
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("conform.no_plugin", name=name, names=names))
    return Subject(name)


def _service(texts: Texts, name: str, remote: str, trust: Trust) -> Subject:
    if REMOTE not in AdapterHost.load([REMOTE]).kinds:
        raise Refusal("UNAVAILABLE", "PLUGIN", texts("conform.no_remote"))
    try:
        manifest = manifest_path(name)
    except ImportError:
        manifest = Path(name)
    try:
        parse_endpoint(remote)
    except AdapterConfigError:
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("conform.bad_address")) from None
    if not manifest.is_file():
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("conform.no_manifest", name=name))
    return remote_subject(Service(remote, manifest, trust.authority, trust.certificate, trust.key))


def _show(texts: Texts, report: Report, name: str) -> None:
    rows = [
        (
            texts(f"tier.{rule.tier}"),
            _words(texts, rule.title),
            _result(texts, report.outcomes[case]),
            report.outcomes[case].text,
        )
        for case, rule in report.rules.cases.items()
    ]
    table([texts(f"col.{column}") for column in ("level", "case", "state", "message")], rows)
    open_ = [case for case, each in report.outcomes.items() if each.result in ("failed", "not_shown")]
    if open_:
        say(texts("conform.mend"))
    for case in open_:
        rule = report.rules.cases[case]
        say(f"  {_words(texts, rule.title)}: {_words(texts, rule.mend)}")
    count = {result: sum(each.result == result for each in report.outcomes.values()) for result in _STYLES}
    tier = texts(f"tier.{report.tier}")
    say(texts("conform.tier", name=name, tier=tier, passed=count["passed"], failed=count["failed"],
              open=count["not_shown"]))  # fmt: skip


def _result(texts: Texts, outcome: Outcome) -> Text:
    return coloured(texts(f"conform.{outcome.result}"), _STYLES[outcome.result])


def _words(texts: Texts, words: Words) -> str:
    return words.zh if texts.language == "zh" else words.en
