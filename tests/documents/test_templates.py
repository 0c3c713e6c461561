"""Templates of printed forms: what may stand in one, and what refuses to load."""

from pathlib import Path

import pytest

from xinqiao.api.referral.v1 import notice_pb2 as pb
from xinqiao.disclosure.policy import load_policy
from xinqiao.documents.fill import fill
from xinqiao.documents.template import TemplateError, load_catalogue, text_digest

ROOT = Path(__file__).resolve().parents[2]
POLICY = load_policy(ROOT / "config/policy/disclosure.yaml")
NOTICE = (ROOT / "config/documents/notice.yaml").read_text("utf-8")


def changed(folder, old, new, name="notice.yaml"):
    assert old in NOTICE
    (folder / name).write_text(NOTICE.replace(old, new), "utf-8")
    return folder


def refusal(folder, policy=POLICY):
    with pytest.raises(TemplateError) as caught:
        load_catalogue(folder, policy)
    return str(caught.value)


@pytest.mark.parametrize(
    "field",
    ["referral.outcome.diagnosis", "referral.outcome.treatment", "referral.note", "notice.receipt.evidence_sha256"],
)
def test_a_notice_with_a_finding_or_a_counselling_note_does_not_load(tmp_path, field):
    text = refusal(changed(tmp_path, "fields: [notice.advice]", f"fields: [{field}]"))
    assert field in text
    assert "notice.yaml: sections[1].rows[4]" in text


def test_a_diagnosis_in_the_running_text_or_the_code_does_not_load_either(tmp_path):
    assert "DIAGNOSIS" in refusal(changed(tmp_path, "{notice.guardian}", "{referral.outcome.diagnosis}"))
    assert "DIAGNOSIS" in refusal(changed(tmp_path, "qr: notice.short_form", "qr: referral.outcome.diagnosis"))


def test_not_even_a_policy_that_shows_families_a_diagnosis_lets_one_into_a_notice(tmp_path):
    text = (ROOT / "config/policy/disclosure.yaml").read_text("utf-8")
    open_policy = tmp_path / "disclosure.yaml"
    open_policy.write_text(
        text.replace(
            "classes: [AGGREGATE, CASE_REF, IDENTITY, CONTACT, SCHOOL, REFERRAL_REASON, CARE_TASK]",
            "classes: [AGGREGATE, CASE_REF, IDENTITY, CONTACT, SCHOOL, REFERRAL_REASON, CARE_TASK, DIAGNOSIS]",
        ),
        "utf-8",
    )
    policy = load_policy(open_policy)
    folder = tmp_path / "documents"
    folder.mkdir()
    changed(folder, "fields: [notice.advice]", "fields: [referral.outcome.diagnosis]")
    assert "DIAGNOSIS" in refusal(folder, policy)
    assert load_catalogue(ROOT / "config/documents", policy).masks[pb.DOCUMENT_KIND_NOTICE] >> 9 & 1 == 0


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("notice.advice]", "notice.advise]", "there is no field notice.advise"),
        ("notice.advice]", "notice]", "is a record"),
        ("kind: NOTICE", "kind: LETTER", "none of NOTICE, REFERRAL"),
        ("role: FAMILY", "role: EVERYBODY", "EVERYBODY"),
        ("id: notice", "id: other", "name the file after it"),
        ("en: Student}", "}", "rows"),
        ("title:", "titel:", "titel"),
    ],
)
def test_a_mistake_in_a_template_is_told_with_its_place(tmp_path, old, new, word):
    text = refusal(changed(tmp_path, old, new))
    assert "notice.yaml" in text
    assert word in text


def test_an_empty_or_absent_folder_and_two_of_a_kind_are_refused(tmp_path):
    assert "no template" in refusal(tmp_path)
    assert "no such folder" in refusal(tmp_path / "none")
    changed(tmp_path, "id: notice", "id: notice")
    changed(tmp_path, "id: notice", "id: notice2", "notice2.yaml")
    assert "second template" in refusal(tmp_path)


def test_every_form_of_the_example_is_filled_in_both_languages():
    catalogue = load_catalogue(ROOT / "config/documents", POLICY)
    assert len(catalogue.templates) == len([kind for kind in pb.DocumentKind.values() if kind])
    for template in catalogue.templates.values():
        digests = set()
        for language in ("zh", "en"):
            filled = fill(template, pb.DocumentContent(), language, [])
            assert filled.title
            digests.add(text_digest(template, language, filled.texts()))
        assert len(digests) == 2


def test_the_hash_of_a_consent_form_changes_with_one_word_of_it(tmp_path):
    source = (ROOT / "config/documents/consent.yaml").read_text("utf-8")
    hashes = []
    for index, text in enumerate((source, source.replace("随时撤回", "随时取回"), source)):
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "consent.yaml").write_text(text, "utf-8")
        template = load_catalogue(folder, POLICY).templates[pb.DOCUMENT_KIND_CONSENT]
        hashes.append(text_digest(template, "zh", list(fill(template, pb.DocumentContent(), "zh", []).texts())))
    assert hashes[0] == hashes[2] != hashes[1]
