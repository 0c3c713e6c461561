import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from xinqiao_police.signature import NotSigned, key_of, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
BODY = b'{"test": 2432232314}'
NOW = 1_614_265_330


def test_the_specifications_own_example_verifies_and_the_other_library_signs_the_same() -> None:
    headers = sign([key_of(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW, BODY)
    judged = Webhook(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    assert headers["webhook-signature"] == judged == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert verify([key_of(SECRET)], headers, BODY, NOW) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@given(st.text(max_size=200), st.binary(min_size=24, max_size=64))
def test_another_library_takes_ours_and_we_take_what_it_signs(text: str, key: bytes) -> None:
    body, now = text.encode("utf-8", "replace"), datetime.now(UTC)
    seconds = int(now.timestamp())
    judge = Webhook("whsec_" + base64.b64encode(key).decode())
    judge.verify(body, sign([OTHER, key], "msg_1", seconds, body), json_parse=False)
    theirs = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(seconds),
        "webhook-signature": judge.sign("msg_1", now, body.decode()),
    }
    assert verify([key], theirs, body, seconds) == "msg_1"
    with pytest.raises(WebhookVerificationError):
        judge.verify(body, sign([OTHER], "msg_1", seconds, body), json_parse=False)


@pytest.mark.parametrize(
    ("signed", "known"), [((OLD, NEW), (OLD,)), ((OLD, NEW), (NEW,)), ((OLD,), (OLD, NEW)), ((NEW,), (OLD, NEW))]
)
def test_either_side_may_rotate_first(signed: tuple[bytes, ...], known: tuple[bytes, ...]) -> None:
    assert verify(known, sign(signed, "m", NOW, BODY), BODY, NOW) == "m"


@pytest.mark.parametrize(("off", "fits"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_300_seconds_either_way_and_no_more(off: int, fits: bool) -> None:
    headers = sign([OLD], "m", NOW + off, BODY)
    if fits:
        assert verify([OLD], headers, BODY, NOW) == "m"
        return
    with pytest.raises(NotSigned) as caught:
        verify([OLD], headers, BODY, NOW)
    assert caught.value.reason == "STALE"


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "other"}, {"webhook-timestamp": str(NOW + 1)}, {"webhook-signature": ""}, {"webhook-id": ""},
        {"webhook-timestamp": "1614265330.0"}, {"webhook-timestamp": "nan"}, {"webhook-timestamp": "٣"},
        {"webhook-signature": "v1"}, {"webhook-signature": "v1,%%%"}, {"webhook-signature": "v1,\u20ac"}, {"webhook-signature": "v1,a,b v1"},
    ],
)  # fmt: skip
def test_anything_changed_or_malformed_is_no_signature(change: dict[str, str]) -> None:
    with pytest.raises(NotSigned) as caught:
        verify([OLD], {**sign([OLD], "m", NOW, BODY), **change}, BODY, NOW)
    assert caught.value.reason == "SIGNATURE"


def test_a_signature_of_another_scheme_counts_for_nothing() -> None:
    headers = sign([OLD], "m", NOW, BODY)
    with pytest.raises(NotSigned):
        verify([OLD], {**headers, "webhook-signature": headers["webhook-signature"].replace("v1,", "v0,")}, BODY, NOW)


def test_without_any_key_nothing_verifies() -> None:
    with pytest.raises(NotSigned):
        verify([], sign([], "m", NOW, BODY), BODY, NOW)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%", "whsec_" + "A" * 400]
)
def test_a_secret_is_whsec_and_24_to_64_bytes(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64"):
        key_of(secret)
