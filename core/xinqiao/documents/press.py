"""From a template and released content to a PDF; the PDF library is loaded by the first form, not by the start."""

from dataclasses import dataclass

from xinqiao.api.common.v1.types_pb2 import Withheld
from xinqiao.api.referral.v1.notice_pb2 import DocumentContent
from xinqiao.contract.errors import Refusal
from xinqiao.documents.fill import fill
from xinqiao.documents.template import Catalogue, text_digest


@dataclass(frozen=True, slots=True)
class Printed:
    """A form: the PDF, the version and hashes that evidence cites, and the characters that no font has."""

    pdf: bytes
    form_version: str
    form_sha256: bytes
    text_sha256: bytes
    missing: tuple[str, ...]


def print_form(
    catalogue: Catalogue, kind: int, content: DocumentContent, language: str, withheld: list[Withheld], now_us: int
) -> Printed:
    """Draw a form. ``content`` must be released for its reader already: nothing is cut here.

    Raises Refusal NOT_FOUND/TEMPLATE where the district has none of this kind.
    """
    from xinqiao.documents.layout import draw

    template = catalogue.templates.get(kind)
    if template is None:
        raise Refusal("NOT_FOUND", "TEMPLATE", "this district has no template of this kind: add one under documents")
    filled = fill(template, content, language, withheld)
    pdf, missing = draw(filled, catalogue.fonts, now_us)
    version = template.form_version
    return Printed(
        pdf, version, catalogue.versions[kind, version], text_digest(template, language, filled.texts()), missing
    )
