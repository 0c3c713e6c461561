"""The matrix, judged by an oracle that was written from the words of the file alone."""

import itertools
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.disclosure.policy import (
    Decision,
    Deny,
    Policy,
    PolicyError,
    Question,
    decide,
    load_policy,
    permitted,
)

FILE = Path(__file__).resolve().parents[2] / "config" / "policy" / "disclosure.yaml"
POLICY = load_policy(FILE)
RAW = yaml.safe_load(FILE.read_text("utf-8"))
ROLES = {k.removeprefix("ROLE_"): v for k, v in options.Role.items() if v}
PURPOSES = {k.removeprefix("PURPOSE_"): v for k, v in options.Purpose.items() if v}
CLASSES = {k.removeprefix("FIELD_CLASS_"): v for k, v in options.FieldClass.items() if v}
CONSENTS = ("NONE", "GIVEN", "WITHDRAWN", "EXPIRED", "REFUSED", "SUPERSEDED", "DISPUTED")
BASES = (("", ""), ("b", "VALID"), ("b", "UNKNOWN"), ("b", "EXPIRED"), ("b", "PURPOSE"), ("b", "RECIPIENT"))
RELATIONS = ("OWN", "PARTY", "NONE")


def listed(value):
    return [value] if isinstance(value, str) else value


def oracle(role, purpose, klass, relation, consent, consented, basis_state, in_basis, agreement):
    """May this class go? Words in, one bool out; shares nothing with the code under test."""
    if klass == "COUNSELLING_NOTE" or not agreement:
        return False
    for rule in RAW["denies"]:
        for_role, for_purpose = rule.get("roles", [role]), rule.get("purposes", [purpose])
        if klass in rule["classes"] and role in for_role and purpose in for_purpose:
            return False
    by_consent = consent == "GIVEN" and consented
    by_basis = basis_state == "VALID" and in_basis
    for rule in RAW["grants"]:
        if not (role in rule["roles"] and purpose in rule["purposes"] and klass in rule["classes"]):
            continue
        if relation not in listed(rule["relation"]):
            continue
        match rule["needs"]:
            case "none":
                return True
            case "consent" if by_consent:
                return True
            case "basis" if by_basis:
                return True
            case "consent_or_basis" if by_basis or (not basis_state and by_consent):
                return True
    return False


def questions():
    for (role, r), (purpose, p), (klass, c) in itertools.product(ROLES.items(), PURPOSES.items(), CLASSES.items()):
        for relation, consent, (basis, state) in itertools.product(RELATIONS, CONSENTS, BASES):
            for consented, in_basis in ((True, True), (False, False)):
                question = Question(
                    r, p, c, relation, consent, (1 << c if consented else 0), basis, state,
                    (1 << c if in_basis and state == "VALID" else 0), True,
                )  # fmt: skip
                yield question, (role, purpose, klass, relation, consent, consented, state, in_basis, True)


def test_every_question_there_is_gets_the_oracles_answer():
    wrong = [asked for asked, words in questions() if decide(POLICY, asked).permit != oracle(*words)]
    assert wrong == []


def test_every_denial_says_why_and_every_permit_names_its_rule():
    rules = {rule["id"] for rule in RAW["grants"]}
    for asked, _ in itertools.islice(questions(), 0, None, 7):
        decision = decide(POLICY, asked)
        assert decision.rule
        assert (decision.rule in rules) if decision.permit else decision.reason.isupper()


def test_without_an_agreement_nothing_goes_to_anybody():
    assert not any(
        decide(POLICY, asked._replace(agreement=False)).permit for asked, _ in itertools.islice(questions(), 0, None, 3)
    )


def test_a_counselling_note_never_goes_and_the_reason_is_always_the_same():
    note = CLASSES["COUNSELLING_NOTE"]
    for asked, _ in questions():
        if asked.field_class == note:
            assert decide(POLICY, asked) == Decision(False, "core/never-shared", "CLASS_NEVER_SHARED")


numbers = st.integers(-5, 40)
anything = st.builds(
    Question, numbers, numbers, st.integers(0, 40), st.sampled_from(RELATIONS), st.sampled_from(CONSENTS),
    st.integers(0, 2**16), st.sampled_from(["", "b"]), st.sampled_from(["", "VALID", "UNKNOWN", "ODD"]),
    st.integers(0, 2**16), st.booleans(),
)  # fmt: skip


@given(anything)
def test_a_decision_exists_for_every_input_and_unknown_words_are_denied(asked):
    decision = decide(POLICY, asked)
    known = asked.role in ROLES.values() and asked.purpose in PURPOSES.values()
    known = known and asked.field_class in CLASSES.values()
    assert known or not decision.permit


# Of what is drawn at random next to nothing is permitted, and a deny that beats nothing shows nothing.
permitted_ones = [asked for asked, _ in questions() if decide(POLICY, asked).permit]
often_permitted = st.one_of(anything, st.sampled_from(permitted_ones))
masks = st.integers(0, 2**16 - 1)


@given(st.sampled_from(permitted_ones), st.booleans(), st.booleans())
def test_a_deny_beats_the_grant_that_permits(asked, for_role, for_purpose):
    deny = Deny(
        "more", frozenset({asked.role} if for_role else ()), frozenset({asked.purpose} if for_purpose else ()),
        1 << asked.field_class, "MORE",
    )  # fmt: skip
    assert decide(Policy("t", POLICY.grants, (*POLICY.denies, deny)), asked) == Decision(False, "more", "MORE")


@given(often_permitted, st.frozensets(st.sampled_from(list(ROLES.values()))), masks)
def test_one_more_deny_never_opens_anything_and_beats_every_grant(asked, roles, classes):
    stricter = Policy("t", POLICY.grants, (*POLICY.denies, Deny("more", roles, frozenset(), classes, "MORE")))
    before, after = decide(POLICY, asked).permit, decide(stricter, asked).permit
    assert before or not after
    hit = classes >> asked.field_class & 1 and (not roles or asked.role in roles)
    assert not (hit and after)


@given(often_permitted, st.permutations(POLICY.grants))
def test_the_order_of_the_grants_does_not_change_what_goes(asked, grants):
    assert decide(Policy("t", tuple(grants), POLICY.denies), asked).permit == decide(POLICY, asked).permit


@given(often_permitted)
def test_the_ceiling_of_the_second_net_is_above_every_decision(asked):
    if decide(POLICY, asked).permit:
        assert POLICY.ceiling([asked.role], asked.purpose) >> asked.field_class & 1


@given(often_permitted, st.sets(st.sampled_from(list(ROLES.values())), min_size=1, max_size=3))
def test_the_mask_for_several_roles_is_what_they_get_one_by_one(asked, roles):
    mask, denials = permitted(POLICY, roles, asked)
    for number in CLASSES.values():
        one = any(decide(POLICY, asked._replace(role=role, field_class=number)).permit for role in roles)
        assert bool(mask >> number & 1) == one == (number not in denials)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("classes: [DIAGNOSIS, TREATMENT]", "classes: [COUNSELLING_NOTE]", "POLICY_FORBIDDEN"),
        ("roles: [GRID]", "roles: ['*']", "wildcards"),
        ("relation: OWN", "relation: MINE", "OWN, PARTY, NONE"),
        ("purposes: [EDUCATION]", "purposes: [EVERYTHING]", "unknown word"),
        ("id: grid-visits", "id: rescuers", "twice"),
        ("needs: none", "needs: nothing", "needs"),
    ],
)
def test_a_policy_that_opens_what_may_not_open_is_refused(tmp_path, old, new, word):
    text = FILE.read_text("utf-8")
    assert old in text
    path = tmp_path / "disclosure.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(PolicyError, match=word):
        load_policy(path)
