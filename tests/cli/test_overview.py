"""`xinqiao status` and `repairs` against a running gateway, in both languages, and the screen when there is too much."""

import json
import sys
from datetime import timedelta
from io import StringIO

import grpc
import pytest
import yaml
from rich.console import Console

from xinqiao.api.common.v1.types_pb2 import Holding
from xinqiao.api.exchange.v1 import exchange_pb2 as exchange
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.api.referral.v1.referral_service_pb2 import ListHoldingsResponse
from xinqiao.cli import overview
from xinqiao.cli.app import main
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal
from xinqiao.server.repair_texts import repair

MINUTE_US = 60_000_000
NOW_US = 1_790_000_000_000_000


@pytest.fixture(scope="module")
def town(make_town):
    """A dead letter at the hospital, a red case that nobody has acknowledged, and two hours gone by."""
    with make_town(listen=True) as made:
        settings = yaml.safe_load(made.gate.config.read_text("utf-8"))
        text = yaml.safe_dump({**settings, "adapters": {}}, allow_unicode=True)
        (made.gate.folder / "client.yaml").write_text(text, "utf-8")
        made.consent(local := made.student())
        made.recorder.refusing = True
        made.refer(local)
        made.deliver_all()
        made.submit(made.student())
        made.clock.advance(timedelta(hours=2))
        yield made


@pytest.fixture
def run(town, capsys):
    def call(*arguments, lang="en", code=0, as_=town.OPERATOR):
        where = ["--config", str(town.gate.folder / "client.yaml"), "--as", as_]
        address = ["--address", f"127.0.0.1:{town.gate.gateway.port}"]
        assert main(["--lang", lang, *arguments, *where, *address]) == code
        found = capsys.readouterr()
        return found.out + found.err

    return call


def test_repairs_says_in_both_languages_what_is_wrong_and_how_to_mend_it(run, town):
    for lang, words in (("en", ("ERROR", "were given up", "notice")), ("zh", ("错误", "件投递已放弃", "提示"))):
        said = run("repairs", lang=lang, code=75)
        for word in (*words, town.HOSPITAL, "xinqiao deliveries list --dead"):
            assert word in said
    told = json.loads(run("repairs", "--json", code=75))
    (dead,) = [each for each in told if each["code"] == "DEAD_LETTERS"]
    assert dead["severity"] == "REPAIR_SEVERITY_ERROR" and dead["since_us"] != "0"


def test_status_shows_agencies_runs_holdings_and_repairs_in_both_languages(run, town):
    for lang, words in (
        (
            "en",
            ("AGENCIES (2)", "ready 2", "EXCHANGES (0)", "OPEN ITEMS", "late 1 h 30 min", "RED", "TO MEND", "ERROR"),
        ),
        ("zh", ("机构 (2)", "正常 2", "对账 (0)", "未结事项", "逾期 1 时 30 分", "红色", "待处理", "错误")),
    ):
        said = run("status", lang=lang, code=75)
        for word in (*words, town.PSYCH, town.HOSPITAL, "deliveries/", "xinqiao deliveries list --dead"):
            assert word in said, (lang, word)
        assert "\x1b" not in said
    told = json.loads(run("status", "--json", code=75))
    assert {each["agency"] for each in told["status"]["agencies"]} == {town.HOSPITAL, town.SCHOOL}
    assert told["holdings"] and told["repairs"] and told["runs"] == []


def test_status_is_an_operators_and_a_program_does_not_watch(run, town):
    run("status", as_=town.PSYCH, code=77)
    assert "--json" in run("status", "--watch", "--json", code=64)


def test_without_a_terminal_watching_prints_plain_text_again_and_again(run, monkeypatch):
    looks = []

    def pause(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(overview.time, "sleep", pause)
    said = run("status", "--watch", "--every", "5", code=130)
    assert looks == [5.0] * 3
    assert said.count("AGENCIES (2)") == 3 and "\x1b" not in said


class Terminal(StringIO):
    """A window as wide and high as the environment says."""

    def isatty(self):
        return True


def test_on_a_terminal_it_is_live_in_colour_and_outlives_the_gateways_absence(run, monkeypatch):
    window, looks = Terminal(), []
    asked = overview.ask

    def pause(seconds):
        looks.append(window.getvalue())
        if len(looks) == 3:
            raise KeyboardInterrupt

    def ask(remote):
        if len(looks) == 1:
            raise Refusal("UNAVAILABLE", "NOT_RUNNING", "nobody listens at 127.0.0.1")
        return asked(remote)

    monkeypatch.setattr(overview.time, "sleep", pause)
    monkeypatch.setattr(overview, "ask", ask)
    monkeypatch.setattr(sys, "stdout", window)
    for name, value in (("COLUMNS", "150"), ("LINES", "44"), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    run("status", "--watch", code=130)
    first, second, third = looks[0], looks[1][len(looks[0]) :], looks[2][len(looks[1]) :]
    assert "\x1b[?1049h" in first and "\x1b[1;31m" in first and "AGENCIES (2)" in first
    assert "nobody listens" in second and "AGENCIES (2)" in second
    assert "nobody listens" not in third and "AGENCIES (2)" in third
    assert window.getvalue().rstrip().endswith(("\x1b[?25h", "\x1b[?1049l"))  # the window is given back


def test_what_another_call_refuses_ends_the_watching(run, monkeypatch):
    def ask(remote):
        raise Refusal("PERMISSION_DENIED", "ROLE", "no")

    monkeypatch.setattr(overview, "ask", ask)
    run("status", "--watch", code=77)


def busy(agencies=8, holdings=300, repairs=40):
    status = rpc.GetStatusResponse(deployment="d", version="1", policy_version="p", time_us=NOW_US, holdings=holdings)
    for number in range(agencies):
        status.agencies.add(agency=f"agency-{number}", adapter="hospital", state=2 if number < 3 else 1, message="")
    return overview.Overview(
        status,
        [
            exchange.ExchangeRun(exchange=f"monthly-{n}", partner="p", period="2026-10", state=4 + n % 3)
            for n in range(30)
        ],
        [
            Holding(item=f"referrals/{n}", holder=f"holder-{n}", step="accept", tier=1 + n % 4, deadline_us=NOW_US + n)
            for n in range(200)
        ],
        [repair("PARTNER_SILENT", f"partner-{n}", NOW_US, days=n) for n in range(repairs)],
    )


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_the_screen_has_room_for_a_part_of_each_and_says_what_is_left_out(lang, size):
    width, height = size
    console = Console(width=width, height=height, file=StringIO(), highlight=False, force_terminal=True)
    lines = console.render_lines(overview.fitted(Texts(lang), busy(), console), pad=False)
    text = ["".join(segment.text for segment in line) for line in lines]
    assert len(text) <= height
    assert len(text) > height - 8  # and the room is used
    whole = "\n".join(text)
    for command in ("exchange list", "holdings", "repairs"):
        assert f"xinqiao {command}" in whole
    assert "agency-7" in whole and "partner-0" in whole  # those that are well are named too


def test_a_short_section_leaves_its_rows_to_the_others():
    assert overview.share([1, 0, 10, 10], 12) == [1, 0, 5, 6]
    assert overview.share([1, 2, 3], 100) == [1, 2, 3]
    assert overview.share([5, 5], 1) == [0, 1]


def test_overdue_stands_first_and_of_that_red_and_then_the_oldest():
    at = [(-30, 4), (-600, 0), (-700, 0), (5, 2), (9, 4)]
    found = [Holding(tier=tier, deadline_us=NOW_US + minutes * MINUTE_US) for minutes, tier in reversed(at)]
    found.sort(key=lambda each: overview.urgency(each, NOW_US))
    assert [((each.deadline_us - NOW_US) // MINUTE_US, each.tier) for each in found] == [
        (-30, 4), (-700, 0), (-600, 0), (5, 2), (9, 4),
    ]  # fmt: skip


def test_a_red_item_that_has_just_become_overdue_is_fetched_behind_hundreds_of_older_ones():
    pages = {
        "": [Holding(item=f"old/{n}", tier=2, deadline_us=NOW_US - 10_000 + n) for n in range(200)],
        "2": [Holding(item="red", tier=4, deadline_us=NOW_US - 1), Holding(item="later", deadline_us=NOW_US + 1)],
        "3": [Holding(item="much later", deadline_us=NOW_US + 2)],
    }
    following = {"": "2", "2": "3", "3": ""}
    asked = []

    class Remote:
        channel = grpc.insecure_channel("127.0.0.1:9")

        def call(self, method, request):
            token = request.page_token
            asked.append(token)
            return ListHoldingsResponse(
                holdings=pages[token], next_page_token=following[token], time_us=NOW_US
            )  # fmt: skip

    found = overview._stuck(Remote())
    assert found[0].item == "red" and len(found) == 202 and asked == ["", "2"]
