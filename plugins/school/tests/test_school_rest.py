"""Rosters over OneRoster REST: real HTTP against a platform that pages, forgets tokens, stumbles and changes."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpResponse, HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.config.secret import Secret
from xinqiao.contract.clock import SystemClock
from xinqiao_school import SchoolAdapter, SchoolSettings, xinqiao_adapters
from xinqiao_school.rest import Pages
from xinqiao_school.rest_simulator import SECRET, RestPlatform, synthetic_collections
from xinqiao_school.settings import RestSettings


@pytest.fixture
def platform() -> Iterator[RestPlatform]:
    made = RestPlatform(synthetic_collections(25))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def make(platform: RestPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SchoolAdapter]:
    monkeypatch.setenv("SYN_SECRET", SECRET)

    def make_adapter(*, allowed: bool = True, **rest: Any) -> SchoolAdapter:
        for name in ("in", "out"):
            (tmp_path / name).mkdir(exist_ok=True)
        here = f"http://127.0.0.1:{platform.port}"
        about = {
            "base_url": f"{here}/ims/oneroster/rostering/v1p2", "token_url": f"{here}/token", "page_size": 10,
            "client_id": "synthetic-client", "client_secret": Secret("env", "SYN_SECRET"), "every_s": 0, **rest,
        }  # fmt: skip
        settings = SchoolSettings.model_validate(
            {"inbox": tmp_path / "in", "outbox": tmp_path / "out", "school": "X1", "source": "rest", "rest": about}
        )
        [kind] = xinqiao_adapters()
        http = HttpTransport(kind.hosts(settings) if allowed else [])
        return SchoolAdapter(settings, AgencyContext("school-1", {}, "test", http, tmp_path / "state"))

    return make_adapter


def students(items: list[ReadResponse]) -> list[Student]:
    return [each for item in items for each in ([item.student] if item.HasField("student") else item.students.students)]


def users_asked(platform: RestPlatform) -> int:
    return sum("/users?" in request for request in platform.requests)


def test_every_page_of_a_roster_is_joined_as_a_package_would_be(
    make: Callable[..., SchoolAdapter], platform: RestPlatform
) -> None:
    found = students(list(make().read("")))
    assert len(found) == 25
    first = found[0]
    assert (first.local_id, first.class_title, first.birth_date, first.grade) == (
        "SYN-00001", "七年级1班", "2013-05-06", "七年级",
    )  # fmt: skip
    assert [(g.full_name, g.phone, g.relation) for g in first.guardians] == [("合成家长", "13800000000", "guardian")]
    assert users_asked(platform) == 3


def test_one_token_serves_all_pages(make: Callable[..., SchoolAdapter], platform: RestPlatform) -> None:
    list(make().read(""))
    assert platform.tokens_given == 1


def test_a_token_that_expires_under_way_is_renewed_once(
    make: Callable[..., SchoolAdapter], platform: RestPlatform
) -> None:
    platform.faults.expire = 4
    assert len(students(list(make().read("")))) == 25
    assert platform.tokens_given == 2


def test_a_wrong_secret_is_a_refusal_that_names_the_setting_and_not_the_secret(
    make: Callable[..., SchoolAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = make()
    monkeypatch.setenv("SYN_SECRET", "wrong-secret")
    with pytest.raises(PartnerRefused) as caught:
        list(adapter.read(""))
    assert caught.value.reason == "AUTH/CLIENT"
    assert "wrong-secret" not in str(caught.value)


def test_the_second_look_asks_only_for_changes(make: Callable[..., SchoolAdapter], platform: RestPlatform) -> None:
    adapter = make()
    cursor = list(adapter.read(""))[-1].cursor
    changed = platform.collections["users"][3]
    changed |= {"givenName": "改名", "dateLastModified": "2099-01-01T00:00:00.000Z"}
    [student] = students(list(adapter.read(cursor)))
    assert (student.local_id, student.given_name, student.class_title) == ("SYN-00003", "改名", "七年级1班")
    assert all("filter=" in request for request in platform.requests[-6:])


def test_a_student_deleted_at_the_platform_has_left(make: Callable[..., SchoolAdapter], platform: RestPlatform) -> None:
    adapter = make()
    cursor = list(adapter.read(""))[-1].cursor
    platform.collections["users"][3] |= {"status": "tobedeleted", "dateLastModified": "2099-01-01T00:00:00.000Z"}
    assert [(s.local_id, s.left) for s in students(list(adapter.read(cursor)))] == [("SYN-00003", True)]


def test_too_many_requests_are_waited_out(make: Callable[..., SchoolAdapter], platform: RestPlatform) -> None:
    platform.faults.too_many, platform.faults.retry_after = 2, 0
    assert len(students(list(make().read("")))) == 25


def test_a_long_wait_is_left_to_the_gateway(make: Callable[..., SchoolAdapter], platform: RestPlatform) -> None:
    platform.faults.too_many, platform.faults.retry_after = 1, 900
    with pytest.raises(PartnerUnavailable) as caught:
        list(make().read(""))
    assert caught.value.retry_after_s == 900


def test_a_page_that_is_cut_off_is_asked_for_again(make: Callable[..., SchoolAdapter], platform: RestPlatform) -> None:
    platform.faults.truncate = 1
    assert len(students(list(make().read("")))) == 25


def test_nobody_is_lost_when_the_roster_moves_between_two_pages(
    make: Callable[..., SchoolAdapter], platform: RestPlatform
) -> None:
    platform.faults.move = 1
    found = {student.local_id for student in students(list(make().read("")))}
    assert found == {
        str(user["sourcedId"]) for user in platform.collections["users"] if user["roles"][0]["role"] == "student"
    }


def test_a_page_that_repeats_the_one_before_does_not_hide_the_one_it_stands_for(
    make: Callable[..., SchoolAdapter], platform: RestPlatform
) -> None:
    platform.faults.duplicate = 1
    found = [student.local_id for student in students(list(make().read("")))]
    assert sorted(found) == sorted(set(found))
    assert len(found) == 25


def test_a_roster_that_never_stands_still_is_tried_later_and_nothing_is_taken(
    make: Callable[..., SchoolAdapter], platform: RestPlatform
) -> None:
    platform.faults.duplicate = 10**6
    items: list[ReadResponse] = []
    with pytest.raises(PartnerUnavailable, match="changes while it is read"):
        items.extend(make().read(""))
    assert not students(items)


def test_a_missing_scope_for_birth_dates_costs_the_birth_dates_only(
    make: Callable[..., SchoolAdapter], platform: RestPlatform
) -> None:
    platform.faults.without = frozenset({"demographics"})
    found = students(list(make().read("")))
    assert {student.birth_date for student in found} == {""}
    assert len(found) == 25


def test_a_missing_scope_for_users_is_a_refusal(make: Callable[..., SchoolAdapter], platform: RestPlatform) -> None:
    platform.faults.without = frozenset({"users"})
    with pytest.raises(PartnerRefused, match="HTTP 403"):
        list(make().read(""))


def test_a_host_that_the_settings_do_not_name_is_never_reached(
    make: Callable[..., SchoolAdapter], platform: RestPlatform
) -> None:
    with pytest.raises(PartnerRefused) as caught:
        list(make(allowed=False).read(""))
    assert caught.value.reason == "EGRESS/NOT_ALLOWED"
    assert platform.tokens_given == 0


def test_a_slow_platform_is_read_to_its_end(make: Callable[..., SchoolAdapter], platform: RestPlatform) -> None:
    platform.faults.slow_s = 0.02
    begin = time.monotonic()
    assert len(students(list(make().read("")))) == 25
    assert time.monotonic() - begin > 0.1


def test_a_password_reaches_neither_an_item_nor_the_adapters_folder(
    make: Callable[..., SchoolAdapter], tmp_path: Path
) -> None:
    items = list(make().read(""))
    packages = list((tmp_path / "state").rglob("*.zip"))
    assert packages
    import zipfile

    texts = [zipfile.ZipFile(path).read(name) for path in packages for name in zipfile.ZipFile(path).namelist()]
    assert b"synthetic-password" not in b"".join([*texts, *(item.SerializeToString() for item in items)])
    assert {path.stat().st_mode & 0o077 for path in packages} == {0}


def test_nothing_new_makes_no_item(make: Callable[..., SchoolAdapter]) -> None:
    adapter = make()
    cursor = list(adapter.read(""))[-1].cursor
    assert students(list(adapter.read(cursor))) == []


def test_the_platform_is_left_alone_between_two_looks(
    make: Callable[..., SchoolAdapter], platform: RestPlatform
) -> None:
    adapter = make(every_s=3600)
    cursor = list(adapter.read(""))[-1].cursor
    asked = len(platform.requests)
    list(adapter.read(cursor))
    assert len(platform.requests) == asked


@pytest.mark.parametrize("trouble", ["down", "refused"])
def test_the_sheets_of_the_inbox_are_read_although_the_roster_cannot_be(
    make: Callable[..., SchoolAdapter],
    platform: RestPlatform,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    adapter = make()
    cursor = list(adapter.read(""))[-1].cursor
    items = ",".join(f"phq{n}" for n in range(1, 10))
    (tmp_path / "in" / "phq.csv").write_text(f"student_id,taken_on,{items}\nSYN-00001,2026-10-12,{','.join('3' * 9)}\n")
    if trouble == "down":
        platform.stop()
    else:
        adapter = make()
        monkeypatch.setenv("SYN_SECRET", "wrong-secret")
    read: list[ReadResponse] = []
    with pytest.raises(PartnerUnavailable if trouble == "down" else PartnerRefused):
        for item in adapter.read(cursor):
            read.append(item)
    assert sum(item.HasField("forms") for item in read) == 1


def test_a_platform_that_caps_its_pages_and_counts_nothing_is_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYN_SECRET", SECRET)
    users = [{"sourcedId": f"u{n}"} for n in range(250)]

    class Capped:
        def request(self, method: str, url: str, **_: Any) -> HttpResponse:
            if method == "POST":
                return HttpResponse(200, {}, b'{"access_token": "t", "expires_in": 300}')
            at = int(parse_qs(urlsplit(url).query)["offset"][0])
            return HttpResponse(200, {}, json.dumps({"users": users[at : at + 100]}).encode())

    rest = RestSettings(
        base_url="https://a/x", token_url="https://a/t", client_id="c", client_secret=Secret("env", "SYN_SECRET")
    )
    pages = Pages(rest, cast("HttpTransport", Capped()), SystemClock(), lambda seconds: None)
    assert sum(len(page) for page in pages.collection("users", "")) == 250


@pytest.mark.parametrize(
    "address", ["http://sis.example/x", "https://u@a/x", "https://a/x?y", "ftp://a/x", "https://a:0/x"]
)
def test_an_address_the_transport_would_refuse_is_refused_in_the_settings(address: str) -> None:
    with pytest.raises(ValidationError):
        RestSettings(base_url=address, token_url="https://a/t", client_id="c", client_secret=Secret("env", "X"))
