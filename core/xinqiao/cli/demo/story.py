"""The story of one month: every act goes through the same doors that partners use, and says what it saw."""

import signal
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from xinqiao.cli.demo import book_scenes as books
from xinqiao.cli.demo import consent_scenes as consent
from xinqiao.cli.demo import district_scenes as district
from xinqiao.cli.demo import partner_scenes as partners
from xinqiao.cli.demo import referral_scenes as referral
from xinqiao.cli.demo import school_scenes as school
from xinqiao.cli.demo import tables as show
from xinqiao.cli.demo.deployment import Deployment, prepare
from xinqiao.cli.demo.stage import BEGIN, Stage, wind
from xinqiao.cli.texts import Texts
from xinqiao.contract.clock import BEIJING, ShiftedClock, from_us
from xinqiao.journal.verify import verify_database
from xinqiao.server.runtime import Gateway
from xinqiao.store import tables
from xinqiao.store.sql import func

_FRIDAY = datetime(2026, 10, 16, 17, 0, tzinfo=BEIJING)
_DRILL = datetime(2026, 10, 22, 10, 0, tzinfo=BEIJING)
_MONDAY = datetime(2026, 10, 26, 9, 0, tzinfo=BEIJING)
_CLOSE = datetime(2026, 11, 2, 3, 0, tzinfo=BEIJING)


def play(
    *,
    folder: Path,
    roster: Path | None = None,
    scores: Path | None = None,
    stay: bool = False,
    lang: str = "en",
    example: Path = Path("config/gateway.example.yaml"),
) -> int:
    """Play the month and return an exit code. Raises nothing for what a partner does; a broken story is exit 70."""
    console = Console()
    settings: dict[str, Any] = {}
    if roster is not None or scores is not None:
        # Other people's files: take their good rows, and students that only a sheet names.
        settings = {"register_unknown": True, "accept_valid_rows": True, "default_date": "2026-10-12"}
    deployment = prepare(folder, example, settings, f"{roster}\n{scores}\n")
    try:  # whatever goes wrong from here on, no simulator stays behind
        return _play(console, deployment, folder, lang, roster, scores, stay=stay)
    finally:
        deployment.stop()


def _play(
    console: Console, deployment: Deployment, folder: Path, lang: str, roster: Path | None, scores: Path | None, *,
    stay: bool,
) -> int:  # fmt: skip
    clock = ShiftedClock(BEGIN)
    gateway = Gateway(deployment.config, host=deployment.host, clock=clock)
    resumed = wind(gateway, clock, BEGIN)
    gateway.start()
    stage = Stage(console, gateway, deployment, clock, Texts("zh" if lang.startswith("zh") else "en"))
    try:
        if resumed:
            stage.say("接着上次中断之处继续", "going on where the last run was interrupted")
        _run(stage, roster, scores)
        _summary(stage)
        if stay:
            _stay(stage)
        (folder / "ended").write_text("")
    finally:
        gateway.stop()
    return _verify(stage)


def _run(stage: Stage, roster: Path | None, scores: Path | None) -> None:
    """All acts. Each is safe to play again: request ids are derived, so what was done is answered, not done twice."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=stage.console,
    )  # fmt: skip
    acts: list[tuple[datetime, str, str, Callable[[Stage], None]]] = [
        (
            BEGIN,
            "学校平台送来名册与量表",
            "the school brings roster and score sheets",
            lambda stage: school.intake(stage, roster, scores),
        ),
        (BEGIN, "班主任发现异常", "a class teacher notices something", school.teacher),
        (BEGIN, "心理教师确认等级", "the psychologist confirms tiers", school.confirm),
        (BEGIN, "110 推送警情", "the police send an alert", partners.police),
        (BEGIN, "关爱小组", "a care team", partners.team),
        (BEGIN, "告知监护人", "the families are told", school.families),
        (BEGIN, "知情同意与转介", "a consent, and a referral", referral.refer),
        (BEGIN, "家庭支持", "support for the family", partners.support),
        (BEGIN, "没有同意即拒绝", "without consent: refused", referral.refuse),
        (BEGIN, "危机转介，法定依据", "a crisis, under the law", referral.crisis),
        (_FRIDAY, "中断三天之后", "after three days without the hotline", partners.back),
        (_FRIDAY, "每周排查报告", "the weekly report", district.report),
        (referral.OUTCOME, "医院反馈", "the hospital reports", referral.outcome),
        (referral.OUTCOME, "休学与复学", "leave, and the way back", referral.leave),
        (_DRILL, "妇联与团委的十月", "the federation's and the league's October", books.october),
        (_DRILL, "危机通道演练", "a drill of the crisis lane", district.drill),
        (_MONDAY, "该来的报告没有来", "a report that did not come", district.missed),
        (_CLOSE, "紧急访问，两人负责", "an emergency access, two persons answer for it", consent.break_glass),
        (_CLOSE, "月末对账", "the month is settled", district.settle),
        (_CLOSE, "月度报告", "the month in figures", partners.counts),
        (_CLOSE, "台账核对", "the partners' own books", books.compare),
        (_CLOSE, "撤回同意", "a consent is taken back", consent.withdraw),
        (_CLOSE, "家庭查询：谁看过什么", "a family asks who saw what", consent.statement),
    ]
    with bar:
        task = bar.add_task(stage.text("十月", "October"), total=len(acts))
        for moment, zh, en, act in acts:
            wind(stage.gateway, stage.clock, moment)
            # Their minute is up in the story, not on the machine; without a signature for hours routine records stay.
            stage.gateway.checkpointer.run_once()
            stage.gateway.reports.tick(stage.gateway.store)
            bar.update(task, description=stage.text(zh, en))
            now = from_us(stage.clock.now_us()).astimezone(BEIJING)
            stage.console.rule(f"[bold]{stage.text(zh, en)}  [dim]{now:%Y-%m-%d %H:%M}")
            act(stage)
            bar.advance(task)


def _summary(stage: Stage) -> None:
    """What happened, who holds what, and until when."""
    with stage.gateway.store.read() as reading:
        j = tables.journal.c
        rows = reading.all(
            tables.journal.select()
            .with_only_columns(j.kind, j.decision, func.count().label("n"))
            .group_by(j.kind, j.decision)
            .order_by(func.count().desc())
        )
    stage.console.print(show.journal([(str(r["kind"]), str(r["decision"]), int(r["n"])) for r in rows], stage.zh))
    stage.console.print(show.holdings(stage.holdings(), stage.clock.now_us(), stage.texts))


def _verify(stage: Stage) -> int:
    """The journal, offline and without any student's key, after the gateway has stopped."""
    report = verify_database(
        f"sqlite:///{stage.deployment.folder.resolve()}/xinqiao.db",
        stage.deployment.folder / "pki" / "journal.pub",
    )
    for line in report.lines(stage.texts.language):
        stage.console.print(line, style="green" if report.code == 0 else "red", highlight=False)
    return report.code


def _stay(stage: Stage) -> None:
    """Leave the gateway up until Ctrl-C or SIGTERM."""
    pki = stage.deployment.folder / "pki"
    stage.say(
        f"网关在 127.0.0.1:{stage.gateway.port} 运行; 证书在 {pki}/partners; Ctrl-C 结束",
        f"the gateway stays up on 127.0.0.1:{stage.gateway.port}; certificates in {pki}/partners; Ctrl-C ends it",
    )
    (stage.deployment.folder / "port").write_text(str(stage.gateway.port))
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: done.set())
    done.wait()
