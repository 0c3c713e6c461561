"""Who gets in: every kind of certificate, every role on every RPC."""

import itertools
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from cryptography import x509

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.contract.clock import ManualClock, SystemClock
from xinqiao.contract.errors import Refusal
from xinqiao.contract.methods import methods
from xinqiao.server.pki import Authority

METHODS = methods()
LIST = "/xinqiao.api.screening.v1.ScreeningService/ListTriages"
SPIFFE = "spiffe://xinqiao.example/partner/"
PARTNER_OF = {
    "SCHOOL_PLATFORM": "kunshan-no1-middle", "SCHOOL_PSYCHOLOGIST": "psych-chen", "HOSPITAL": "other-hospital",
    "POLICE": "police", "GRID": "grid", "WOMENS_FEDERATION": "womens-federation", "HOTLINE": "hotline",
    "SOCIAL_WORK": "social-work", "YOUTH_LEAGUE": "youth-league", "OPERATOR": "bureau-admin", "FAMILY": "family", "VOLUNTEER": "volunteers",
}  # fmt: skip


@pytest.fixture(scope="module")
def denied(tmp_path_factory):
    return tmp_path_factory.mktemp("deny") / "deny.txt"


@pytest.fixture(scope="module")
def guarded(make_town, denied):
    def change(settings):
        settings["server"]["tls"]["deny_list"] = str(denied)

    denied.write_text("# serials, hexadecimal\n")
    with make_town("sqlite", change=change) as town:
        yield town


def ask(town, certificate, key, *, roots=None):
    """The answer to a call with this certificate: OK or what was told."""
    ca = (town.gate.folder / "pki" / "ca.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials(roots or ca, key, certificate)
    address = f"127.0.0.1:{town.gate.gateway.port}"
    with grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", "localhost")]) as channel:
        try:
            channel.unary_unary(LIST)(b"", timeout=10)
        except grpc.RpcError:
            return town.refused(lambda: channel.unary_unary(LIST)(b"", timeout=10)).word
    return "OK"


def issued(town, **names):
    return Authority(town.gate.folder / "pki", SystemClock()).issue("test", **names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"uris": [SPIFFE + "psych-chen"]}, "OK"),
        ({"uris": [SPIFFE + "psych-chen"], "dns": ["psych.example"]}, "OK"),
        ({"uris": [SPIFFE + "psych-chen", SPIFFE + "bureau-admin"]}, "UNAUTHENTICATED/IDENTITY"),
        ({"uris": [SPIFFE + "psych-chen", "https://example.org"]}, "UNAUTHENTICATED/IDENTITY"),
        ({"dns": [SPIFFE + "psych-chen"]}, "UNAUTHENTICATED/IDENTITY"),
        ({"dns": ["psych-chen"]}, "UNAUTHENTICATED/IDENTITY"),
        ({"uris": ["spiffe://elsewhere.example/partner/psych-chen"]}, "UNAUTHENTICATED/IDENTITY"),
        ({"uris": [SPIFFE + "nobody"]}, "UNAUTHENTICATED/IDENTITY"),
        ({"uris": [SPIFFE + "psych-chen/"]}, "UNAUTHENTICATED/IDENTITY"),
        ({"uris": [(SPIFFE + "psych-chen").upper()]}, "UNAUTHENTICATED/IDENTITY"),
        ({"uris": [SPIFFE + "police"]}, "PERMISSION_DENIED/ROLE"),
    ],
    ids=str,
)
def test_only_one_registered_name_in_the_right_place_gets_in(guarded, names, expected):
    assert ask(guarded, *issued(guarded, **names)) == expected


def test_nobody_gets_in_without_a_certificate(guarded):
    assert ask(guarded, None, None) == "UNAVAILABLE"


def test_a_certificate_of_an_unknown_authority_is_refused_in_the_handshake(guarded, tmp_path):
    forged = Authority(tmp_path, SystemClock()).issue("psych-chen", uris=[SPIFFE + "psych-chen"])
    assert ask(guarded, *forged) == "UNAVAILABLE"


def test_an_expired_certificate_is_refused_in_the_handshake(guarded):
    past = ManualClock(datetime.now(UTC) - timedelta(days=91))
    old = Authority(guarded.gate.folder / "pki", past).issue("psych-chen", uris=[SPIFFE + "psych-chen"])
    assert ask(guarded, *old) == "UNAVAILABLE"


def test_a_certificate_on_the_deny_list_is_refused_within_half_a_minute(guarded, denied):
    certificate, key = issued(guarded, uris=[SPIFFE + "psych-chen"])
    assert ask(guarded, certificate, key) == "OK"
    denied.write_text(f"{x509.load_pem_x509_certificate(certificate).serial_number:x}  # lost laptop\n")
    guarded.clock.advance(timedelta(seconds=31))
    assert ask(guarded, certificate, key) == "UNAUTHENTICATED/REVOKED"
    assert ask(guarded, *issued(guarded, uris=[SPIFFE + "psych-chen"])) == "OK"


def test_a_partner_whose_agreement_ran_out_is_refused_and_it_is_on_record(guarded):
    path = "/xinqiao.api.referral.v1.ReferralService/ListReferrals"
    call = guarded.gate.channel("lapsed-hospital").unary_unary(path)
    assert guarded.refused(lambda: call(b"", timeout=10)).word == "PERMISSION_DENIED/AGREEMENT_EXPIRED"
    rows = guarded.journal(kind="refused", actor="lapsed-hospital")
    assert [row["reason"] for row in rows] == ["AGREEMENT_EXPIRED"]


def test_the_gateways_own_certificate_is_no_partner(guarded):
    pki = guarded.gate.folder / "pki"
    answer = ask(guarded, (pki / "gateway.pem").read_bytes(), (pki / "gateway.key").read_bytes())
    assert answer == "UNAUTHENTICATED/IDENTITY"


def test_there_is_no_port_without_tls(guarded):
    with grpc.insecure_channel(f"127.0.0.1:{guarded.gate.gateway.port}") as channel:
        assert guarded.refused(lambda: channel.unary_unary(LIST)(b"", timeout=5)).code == "UNAVAILABLE"


@pytest.mark.parametrize("role", PARTNER_OF)
def test_a_role_may_call_exactly_what_its_contract_says(wire, role):
    """An empty request: who may call is told INVALID_ARGUMENT or gets an empty page; who may not, only ROLE."""
    number = options.Role.Value(f"ROLE_{role}")
    channel = wire.gate.channel(PARTNER_OF[role])
    for path, method in METHODS.items():
        try:
            if method.streaming:
                next(channel.stream_stream(path)(iter([b""]), timeout=10))
            else:
                channel.unary_unary(path)(b"", timeout=10)
            word = "OK"
        except grpc.RpcError as error:
            word = wire.refused(lambda error=error: itertools.chain(_raise(error))).word
        if number in method.roles:
            assert word == "OK" or word.startswith("INVALID_ARGUMENT/"), path
        else:
            assert word == "PERMISSION_DENIED/ROLE", path


def _raise(error):
    raise error


def test_every_role_has_a_partner_in_the_matrix():
    assert {f"ROLE_{role}" for role in PARTNER_OF} == {name for name, number in options.Role.items() if number}


def test_two_identities_on_one_connection_are_none(guarded):
    """gRPC gives no id at all for a certificate with two URIs; should it ever give both, neither counts."""
    identity = guarded.gate.gateway.edge._identity
    known = guarded.gate.gateway.registry.find(guarded.HOSPITAL).spiffe.encode()
    for ids in ((known, b"spiffe://x/y"), (b"spiffe://x/y", known), (known, known), ()):
        with pytest.raises(Refusal) as caught:
            identity.caller({"peer_spiffe_id": ids})
        assert caught.value.reason == "IDENTITY"
