"""Each kind of bad file gets one exact answer: reason, line, column, key; and never the value."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, field_validator

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.config import ConfigError, ConfigPath, Gateway, PartnerUrl, Secret, load_gateway
from xinqiao.config.settings import Role


class SchoolSettings(BaseModel):
    inbox: ConfigPath
    outbox: ConfigPath
    school: str = "x"
    encoding: str = "utf-8"


class HospitalSettings(BaseModel):
    base_url: PartnerUrl
    poll_seconds: int = 5
    token: Secret | None = None
    label: str = "x"

    @field_validator("label")
    @classmethod
    def _careless(cls, label: str) -> str:
        if label != "x":
            raise ValueError(f"bad label {label}")
        return label


MODELS: dict[str, type[BaseModel]] = {"school": SchoolSettings, "hospital": HospitalSettings}

CEILINGS = {
    "message_bytes": 4 * 1024 * 1024,
    "metadata_bytes": 16 * 1024,
    "streams_per_connection": 1000,
    "max_deadline_s": 300,
    "concurrent_per_partner": 1024,
    "stream_idle_s": 600,
}
"""What no configuration may lift: guarantees C10."""

BASE = """\
version: 1
deployment: kunshan
district: "320583"
server:
  tls: {certificate: a.pem, key: a.key, ca: ca.pem}
store:
  keyring: ring
journal:
  signing_key: j.key
policy: policy
instruments: instruments
triage: triage.yaml
legal_bases: bases.yaml
partners:
  school-1:
    kind: school
    names: {zh: 校, en: School}
    spiffe: spiffe://x.example/partner/school-1
    roles: [SCHOOL_PLATFORM]
    schools: ["0512345670"]
    agreement:
      number: A1
      valid_from: 2026-01-01
      valid_to: 2027-01-01
  hospital-1:
    kind: hospital
    names: {zh: 院, en: Hospital}
    spiffe: spiffe://x.example/partner/hospital-1
    roles: [HOSPITAL]
    agreement: {number: A2, valid_from: 2026-01-01, valid_to: 2027-01-01}
adapters:
  hospital-1:
    adapter: hospital
    settings:
      base_url: https://hospital.example/fhir
exchanges:
  monthly:
    names: {zh: 对账, en: Monthly}
    parties: [school-1, hospital-1]
    datasets:
      - {contract: referrals, to: hospital-1, purpose: treatment}
    period: month
    schedule:
      run:
        day: 1
        at: "02:00"
      close_after_days: 10
"""


def _load(tmp_path: Path, text: str) -> Gateway:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(text.encode("utf-8"))
    return load_gateway(path, MODELS)


def _problems(tmp_path: Path, text: str) -> list[tuple[str, int, int, str]]:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    return [(found.reason, found.line, found.column, found.key) for found in caught.value.problems]


BAD: list[tuple[str, str, str, tuple[str, int, int, str]]] = [
    (
        "text for number",
        "close_after_days: 10",
        'close_after_days: "10"',
        ("TYPE", 47, 7, "exchanges.monthly.schedule.close_after_days"),
    ),
    ("bare no", "deployment: kunshan", "deployment: NO", ("TYPE", 2, 1, "deployment")),
    ("bare on", "deployment: kunshan", "deployment: on", ("TYPE", 2, 1, "deployment")),
    ("bare true for text", "deployment: kunshan", "deployment: true", ("TYPE", 2, 1, "deployment")),
    ("sexagesimal", 'at: "02:00"', "at: 22:30:00", ("TYPE", 46, 9, "exchanges.monthly.schedule.run.at")),
    ("number for text", 'district: "320583"', "district: 320583", ("TYPE", 3, 1, "district")),
    ("leading zero", '["0512345670"]', "[0512345670]", ("TYPE", 20, 15, "partners.school-1.schools[0]")),
    ("one for true", "version: 1", "version: true", ("TYPE", 1, 1, "version")),
    ("duplicate key", "policy: policy", "policy: policy\npolicy: other", ("DUPLICATE", 11, 1, "policy")),
    (
        "duplicate partner",
        "  hospital-1:\n    kind",
        "  school-1:\n    kind",
        ("DUPLICATE", 25, 3, "partners.school-1"),
    ),
    (
        "unknown key",
        "purpose: treatment",
        "purposs: treatment",
        ("UNKNOWN_KEY", 41, 47, "exchanges.monthly.datasets[0].purposs"),
    ),
    (
        "unknown key of a plugin",
        "base_url: https://hospital.example/fhir",
        "base_url: https://hospital.example/fhir\n      pol_seconds: 5",
        ("UNKNOWN_KEY", 36, 7, "adapters.hospital-1.settings.pol_seconds"),
    ),
    (
        "plugin value",
        "base_url: https://hospital.example/fhir",
        "base_url: https://hospital.example/fhir\n      poll_seconds: soon",
        ("TYPE", 36, 7, "adapters.hospital-1.settings.poll_seconds"),
    ),
    (
        "plugin not installed",
        "adapter: hospital",
        "adapter: hospitel",
        ("NOT_INSTALLED", 33, 5, "adapters.hospital-1.adapter"),
    ),
    ("python tag", "policy: policy", "policy: !!python/object:os.system x", ("TAG", 10, 1, "policy")),
    ("secret tag elsewhere", "policy: policy", "policy: !env XQ_POLICY", ("TAG", 10, 1, "policy")),
    (
        "secret tag in place of a mapping",
        "agreement: {number: A2, valid_from: 2026-01-01, valid_to: 2027-01-01}",
        "agreement: !env A",
        ("TAG", 30, 5, "partners.hospital-1.agreement"),
    ),
    ("alias", "policy: policy", "policy: *p", ("ALIAS", 10, 1, "policy")),
    ("anchor", "policy: policy", "policy: &p policy", ("ALIAS", 10, 1, "policy")),
    ("merge key", "  keyring: ring", "  keyring: ring\n  <<: {url: x}", ("ALIAS", 8, 3, "store.<<")),
    (
        "no such day",
        "valid_to: 2027-01-01\n  hosp",
        "valid_to: 2026-02-30\n  hosp",
        ("DATE", 24, 7, "partners.school-1.agreement.valid_to"),
    ),
    (
        "no such day in quotes",
        "valid_to: 2027-01-01\n  hosp",
        'valid_to: "2026-02-30"\n  hosp',
        ("DATE", 24, 7, "partners.school-1.agreement.valid_to"),
    ),
    (
        "agreement backwards",
        "valid_to: 2027-01-01\n  hosp",
        "valid_to: 2025-01-01\n  hosp",
        ("DATE", 21, 5, "partners.school-1.agreement"),
    ),
    ("tab", "  keyring: ring", "\tkeyring: ring", ("TAB", 7, 1, "")),
    ("carriage return", "version: 1\n", "version: 1\r\n", ("LINE_ENDING", 1, 11, "")),
    ("byte order mark", "version: 1", "\ufeffversion: 1", ("ENCODING", 1, 1, "")),
    ("NUL", "policy: policy", "policy: pol\x00icy", ("CHARSET", 10, 12, "")),
    ("escaped NUL", "policy: policy", 'policy: "\\0secret"', ("CHARSET", 10, 1, "policy")),
    ("right-to-left override", "policy: policy", "policy: a\u202eb", ("CHARSET", 10, 1, "policy")),
    ("two documents", "policy: policy", "policy: policy\n---\nx: 1", ("DOCUMENTS", 11, 1, "")),
    ("not YAML", "policy: policy", "policy: [", ("SYNTAX", 12, 7, "")),
    ("day 31", "day: 1", "day: 31", ("SCHEDULE", 45, 9, "exchanges.monthly.schedule.run.day")),
    ("day 0", "day: 1", "day: 0", ("SCHEDULE", 45, 9, "exchanges.monthly.schedule.run.day")),
    (
        "weekday 9",
        "period: month\n    schedule:\n      run:\n        day: 1",
        "period: week\n    schedule:\n      run:\n        day: 9",
        ("SCHEDULE", 45, 9, "exchanges.monthly.schedule.run.day"),
    ),
    (
        "no closing rule",
        "      close_after_days: 10\n",
        "",
        ("SCHEDULE", 43, 5, "exchanges.monthly.schedule"),
    ),
    (
        "two closing rules",
        "close_after_days: 10",
        "close_after_days: 10\n      close_by_working_day: 5",
        ("SCHEDULE", 43, 5, "exchanges.monthly.schedule"),
    ),
    (
        "closed by a working day, run by another",
        "close_after_days: 10",
        "close_by_working_day: 5",
        ("SCHEDULE", 47, 7, "exchanges.monthly.schedule.close_by_working_day"),
    ),
    (
        "closed before it is run",
        'day: 1\n        at: "02:00"\n      close_after_days: 10',
        'day: 6\n        at: "02:00"\n        working: true\n      close_by_working_day: 5',
        ("SCHEDULE", 48, 7, "exchanges.monthly.schedule.close_by_working_day"),
    ),
    (
        "expects a stranger",
        "      close_after_days: 10\n",
        "      close_after_days: 10\n    expects: [school-1, ghost]\n",
        ("REFERENCE", 48, 25, "exchanges.monthly.expects[1]"),
    ),
    (
        "expects without nil reports",
        "      close_after_days: 10\n",
        "      close_after_days: 10\n    nil_report: false\n    expects: [school-1]\n",
        ("CONFLICT", 49, 5, "exchanges.monthly.expects"),
    ),
    ("half a year", "period: month", "period: half_year", ("VALUE", 42, 5, "exchanges.monthly.period")),
    ("hour 25", '"02:00"', '"25:00"', ("SCHEDULE", 46, 9, "exchanges.monthly.schedule.run.at")),
    ("same identity", "partner/hospital-1\n", "partner/school-1\n", ("CONFLICT", 28, 5, "partners.hospital-1.spiffe")),
    (
        "identity of another",
        "partner/hospital-1\n",
        "partner/hospital-2\n",
        ("CONFLICT", 28, 5, "partners.hospital-1.spiffe"),
    ),
    (
        "unknown party",
        "parties: [school-1, hospital-1]",
        "parties: [school-1, hospital-1x]",
        ("REFERENCE", 39, 25, "exchanges.monthly.parties[1]"),
    ),
    (
        "adapter of nobody",
        "adapters:\n  hospital-1:",
        "adapters:\n  hospital-9:",
        ("REFERENCE", 32, 3, "adapters.hospital-9"),
    ),
    (
        "agency of nobody",
        "    roles: [HOSPITAL]",
        "    roles: [HOSPITAL]\n    agency: ghost",
        ("REFERENCE", 30, 5, "partners.hospital-1.agency"),
    ),
    ("missing key", "  keyring: ring", "  password: !env P", ("MISSING", 6, 1, "store.keyring")),
    (
        "password in URL",
        "  keyring: ring",
        "  keyring: ring\n  url: postgresql+psycopg://u:hunter2@db/x",
        ("SECRET", 8, 3, "store.url"),
    ),
    ("inline secret", "  keyring: ring", "  keyring: ring\n  password: hunter2", ("SECRET", 8, 3, "store.password")),
    (
        "forged secret token",
        "  keyring: ring",
        '  keyring: ring\n  password: {"\\0secret": 0}',
        ("CHARSET", 8, 14, "store.password.\\u0000secret"),
    ),
    ("wildcard school", '["0512345670"]', '["*"]', ("POLICY_FORBIDDEN", 20, 15, "partners.school-1.schools[0]")),
    ("role of nobody", "[HOSPITAL]", "[CIVIL_AFFAIRS]", ("VALUE", 29, 13, "partners.hospital-1.roles[0]")),
    ("misspelt kind", "kind: hospital", "kind: hopsital", ("VALUE", 26, 5, "partners.hospital-1.kind")),
    *(
        (
            f"{limit} above its ceiling",
            "server:",
            f"server:\n  limits: {{{limit}: {ceiling + 1}}}",
            ("BELOW_LEGAL_MINIMUM", 5, 12, f"server.limits.{limit}"),
        )
        for limit, ceiling in CEILINGS.items()
    ),
    *(
        (
            f"{limit} of nothing",
            "server:",
            f"server:\n  limits: {{{limit}: 0}}",
            ("RANGE", 5, 12, f"server.limits.{limit}"),
        )
        for limit in [*CEILINGS, "rate_per_partner"]
    ),
    (
        "nobody for red",
        "journal:",
        "delivery: {crisis_workers: 0}\njournal:",
        ("RANGE", 8, 12, "delivery.crisis_workers"),
    ),
    (
        "plain http",
        "https://hospital.example",
        "http://hospital.example",
        ("URL", 35, 7, "adapters.hospital-1.settings.base_url"),
    ),
    (
        "user in URL",
        "https://hospital.example",
        "https://a@127.0.0.1",
        ("URL", 35, 7, "adapters.hospital-1.settings.base_url"),
    ),
    (
        "number as host",
        "https://hospital.example",
        "https://2130706433",
        ("URL", 35, 7, "adapters.hospital-1.settings.base_url"),
    ),
    (
        "NAT64 host",
        "https://hospital.example",
        "https://[64:ff9b::7f00:1]",
        ("URL", 35, 7, "adapters.hospital-1.settings.base_url"),
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_file_is_answered_with_reason_line_column_and_key(
    tmp_path: Path, old: str, new: str, expected: tuple[str, int, int, str]
) -> None:
    assert BASE.count(old) == 1
    reason, *place = expected
    assert (f"CONFIG/{reason}", *place) in _problems(tmp_path, BASE.replace(old, new))


def test_the_unchanged_file_loads(tmp_path: Path) -> None:
    gateway = _load(tmp_path, BASE)
    assert gateway.store.url == f"sqlite:///{tmp_path}/var/xinqiao.db"
    assert gateway.server.tls.key == tmp_path / "a.key"
    assert isinstance(gateway.adapters["hospital-1"].settings, HospitalSettings)


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = BASE.replace("version: 1", "version: on").replace("policy: policy", "polcy: policy")
    text = text.replace("parties: [school-1,", "parties: [ghost,").replace("day: 1", "day: 31")
    reasons = [(reason, line) for reason, line, _, _ in _problems(tmp_path, text)]
    assert reasons == [
        ("CONFIG/MISSING", 1),
        ("CONFIG/TYPE", 1),
        ("CONFIG/UNKNOWN_KEY", 10),
        ("CONFIG/REFERENCE", 39),
        ("CONFIG/SCHEDULE", 45),
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("contract: referrals", "contract: nothing", ("VALUE", "exchanges.monthly.datasets[0].contract")),
        ("policy: policy", "policy: *p", ("ALIAS", "policy")),
        (
            "  keyring: ring",
            "  keyring: ring\n  password: !env A\n  password: !env B",
            ("DUPLICATE", "store.password"),
        ),
    ],
    ids=["list with one wrong item", "value already refused by the reader", "secret given twice"],
)
def test_one_mistake_is_told_once(tmp_path: Path, old: str, new: str, expected: tuple[str, str]) -> None:
    reason, key = expected
    found = [(problem[0], problem[3]) for problem in _problems(tmp_path, BASE.replace(old, new))]
    assert found == [(f"CONFIG/{reason}", key)]


def test_a_problem_is_rendered_as_file_line_column_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, BASE.replace("purpose: treatment", "purposs: treatment"))
    text = str(caught.value)
    assert f"{tmp_path}/gateway.yaml:41:47: exchanges.monthly.datasets[0].purposs: unknown key" in text
    assert "did you mean `purpose`?" in text


def test_a_plugin_that_is_not_installed_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean `hospital`.* installed: hospital, school"):
        _load(tmp_path, BASE.replace("adapter: hospital", "adapter: hospitl"))


def test_a_plugin_problem_appears_even_when_no_plugin_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(BASE)
    with pytest.raises(ConfigError, match="installed: none"):
        load_gateway(path, {})


def test_a_duplicate_names_both_lines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r":11:1: policy: given twice, first on line 10"):
        _load(tmp_path, BASE.replace("policy: policy", "policy: policy\npolicy: other"))


def test_a_wrong_value_is_never_echoed(tmp_path: Path) -> None:
    lines = BASE.splitlines()
    refused = 0
    for number, line in enumerate(lines):
        head = line.partition(": ")[0].rstrip(":")
        for value in (
            "CANARY7391",
            "[CANARY7391]",
            "!CANARY7391 x",
            "'CANARY7391",
            '"CANARY7391\\u202e"',
            "*CANARY7391",
        ):
            text = "\n".join([*lines[:number], f"{head}: {value}", *lines[number + 1 :]]) + "\n"
            try:
                _load(tmp_path, text)
            except ConfigError as error:
                refused += 1
                assert "canary7391" not in str(error).casefold(), (number + 1, value)
    assert refused > 5 * len(lines)


def test_a_plugin_message_that_quotes_the_value_is_replaced(tmp_path: Path) -> None:
    url = "base_url: https://hospital.example/fhir"
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, BASE.replace(url, f"{url}\n      label: CANARY7391"))
    assert "CANARY7391" not in str(caught.value)
    assert caught.value.problems[0].key == "adapters.hospital-1.settings.label"


@pytest.mark.parametrize(
    ("data", "reason", "line"),
    [
        (b"", "CONFIG/EMPTY", 1),
        (b"# only a comment\n", "CONFIG/EMPTY", 1),
        (b"a: 1\nb: \xd6\xd0\n", "CONFIG/ENCODING", 2),
        ("a: 1".encode("utf-16"), "CONFIG/ENCODING", 1),
        (b"- a\n", "CONFIG/TYPE", 1),
        (b"a: " + b"[" * 900 + b"]" * 900, "CONFIG/DEPTH", 1),
        (b"a: " + b"x" * (1024 * 1024), "CONFIG/TOO_LARGE", 1),
        (b"a: 1\n# " + b"x" * 9000, "CONFIG/TOO_LARGE", 2),
        (b"a: [" + b"1,\n" * 30_000 + b"]", "CONFIG/TOO_LARGE", 19_998),
        (b"a: [" + b"1," * 30_000 + b"]", "CONFIG/TOO_LARGE", 1),
        (b"a: &a [1]\nb: [*a,*a]\n", "CONFIG/ALIAS", 1),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused(tmp_path: Path, data: bytes, reason: str, line: int) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_gateway(path, MODELS)
    assert (caught.value.problems[0].reason, caught.value.problems[0].line) == (reason, line)


def test_a_missing_file_is_told_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CONFIG/FILE"):
        load_gateway(tmp_path / "absent.yaml", MODELS)


def test_the_roles_are_those_of_the_contract() -> None:
    assert sorted(f"ROLE_{role}" for role in get_args(Role)) == sorted(options.Role.keys()[1:])


def test_a_misspelt_word_of_a_closed_list_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, BASE.replace("[HOSPITAL]", "[HOSPITALS]"))
    assert [each.hint for each in caught.value.problems] == ["did you mean `HOSPITAL`?"]
