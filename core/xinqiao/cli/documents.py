"""`xinqiao documents list`, `render`, `verify`: the printed forms, and the code of a notice, also without a gateway."""

import os
from datetime import timedelta
from pathlib import Path

from xinqiao.api.common.v1.options_pb2 import FieldClass, Purpose
from xinqiao.api.referral.v1 import notice_pb2 as pb
from xinqiao.api.referral.v1 import notice_service_pb2 as rpc
from xinqiao.api.referral.v1.notice_service_pb2_grpc import NoticeServiceStub
from xinqiao.cli.exits import DATA
from xinqiao.cli.files import document_public_key, load_settings
from xinqiao.cli.output import as_json, say, warn
from xinqiao.cli.remote import connect
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.cli.words import number
from xinqiao.contract.clock import SystemClock, local_date
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.policy import load_policy
from xinqiao.documents.short_form import verify as verify_offline
from xinqiao.documents.template import Catalogue, load_catalogue
from xinqiao.journal.signing import load_public_keys


def list_forms(texts: Texts, config: Path, *, json: bool) -> int:
    """The district's forms, checked as a start would check them."""
    catalogue = _catalogue(texts, config)
    rows = [
        {
            "kind": pb.DocumentKind.Name(pb.DocumentKind.ValueType(kind)).removeprefix("DOCUMENT_KIND_").lower(),
            "form_version": template.form_version,
            "title": template.title(texts.language),
            "reader": template.audience.role,
            "purposes": list(template.audience.purposes),
        }
        for kind, template in sorted(catalogue.templates.items())
    ]
    if json:
        as_json(rows)
    else:
        headings = [texts(f"col.{key}") for key in ("kind", "form", "title", "reader")]
        table(headings, [[str(row[key]) for key in ("kind", "form_version", "title", "reader")] for row in rows])
    return 0


def render(
    texts: Texts, config: Path, partner: str, address: str, *, kind: str, subject: str, out: Path, language: str,
    recipient: str, purpose: str, classes: str, days: int, json: bool, at_family_request: bool = False,
) -> int:  # fmt: skip
    """Fetch a form from a running gateway and write it to a file of mode 0600."""
    request = rpc.RenderDocumentRequest(
        kind=pb.DocumentKind.ValueType(number(texts, pb.DocumentKind, "DOCUMENT_KIND_", kind)), subject=subject,
        language=pb.DOCUMENT_LANGUAGE_EN if language == "en" else pb.DOCUMENT_LANGUAGE_ZH,
    )  # fmt: skip
    if request.kind == pb.DOCUMENT_KIND_CONSENT:
        request.consent.recipient, request.consent.at_family_request = recipient, at_family_request
        request.consent.purpose = Purpose.ValueType(number(texts, Purpose, "PURPOSE_", purpose))
        request.consent.classes.extend(
            FieldClass.ValueType(number(texts, FieldClass, "FIELD_CLASS_", word)) for word in classes.split(",")
        )
        request.consent.last_day = (local_date(SystemClock().now_us()) + timedelta(days=days)).isoformat()
    with connect(texts, config, partner, address) as remote:
        answer = remote.call(NoticeServiceStub(remote.channel).RenderDocument, request)
    with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)  # a file that stood there keeps its mode otherwise
        file.write(answer.pdf)
    withheld = [item.field for item in answer.withheld]
    if json:
        as_json({
            "file": str(out), "form_version": answer.form_version, "text_sha256": answer.text_sha256.hex(),
            "form_sha256": answer.form_sha256.hex(),
            "missing_glyphs": list(answer.missing_glyphs), "withheld": withheld,
        })  # fmt: skip
        return 0
    say(
        texts(
            "documents.written",
            file=out,
            form=answer.form_version,
            digest=answer.text_sha256.hex(),
            template=answer.form_sha256.hex(),
        )
    )
    if answer.missing_glyphs:
        warn(texts("documents.missing", glyphs=", ".join(answer.missing_glyphs)))
    if withheld:
        warn(texts("documents.withheld", fields=", ".join(withheld)))
    return 0


def verify(
    texts: Texts, config: Path, partner: str, address: str, *, code: str, key: Path | None, online: bool, json: bool
) -> int:  # fmt: skip
    """Say whether a code is genuine: by the public key alone, or by asking the gateway, which knows of revocations."""
    if online:
        with connect(texts, config, partner, address) as remote:
            request = rpc.VerifyNoticeRequest(short_form=code)
            answer = remote.call(NoticeServiceStub(remote.channel).VerifyNotice, request)
        word = pb.NoticeVerdict.Name(answer.verdict).removeprefix("NOTICE_VERDICT_").lower()
        found = {"verdict": word, "issue_day": answer.issue_day, "priority_due": answer.priority_due}
    else:
        form = verify_offline(code, load_public_keys(key or _public_key(texts, config)))
        late = form is not None and local_date(SystemClock().now_us()) > form.last_day
        word = "not_genuine" if form is None else "expired" if late else "genuine"
        # Offline nobody knows whether it was revoked since: priority is the gateway's word.
        found = {"verdict": word, "issue_day": form.issued.isoformat() if form else "", "priority_due": None}
    if json:
        as_json(found)
    else:
        line = texts(f"documents.{word}", day=found["issue_day"])
        (say if word == "genuine" else warn)(line)
        if word == "genuine" and not online:
            warn(texts("documents.offline"))
    return 0 if word == "genuine" else DATA


def _catalogue(texts: Texts, config: Path) -> Catalogue:
    settings = load_settings(texts, config)
    if settings.documents is None:
        raise Refusal("FAILED_PRECONDITION", "CONFIG", texts("documents.no_folder", file=config))
    return load_catalogue(settings.documents, load_policy(settings.policy / "disclosure.yaml"))


def _public_key(texts: Texts, config: Path) -> Path:
    settings = load_settings(texts, config)
    if settings.document_key is None:
        raise Refusal("FAILED_PRECONDITION", "CONFIG", texts("documents.no_key", file=config))
    return document_public_key(settings.document_key)
