"""Templates of printed forms: what stands where, in both languages, and for whose eyes; checked before they are used."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import yaml
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.referral.v1 import notice_pb2 as pb
from xinqiao.contract import plainyaml
from xinqiao.contract.fields import class_name, field_class
from xinqiao.disclosure.policy import Policy, PolicyError, mask_of_names, numbers_of

PLACEHOLDER = re.compile(r"\{([a-z_.]+)\}")
_CLINICAL = 1 << options.FIELD_CLASS_DIAGNOSIS | 1 << options.FIELD_CLASS_TREATMENT | 1 << options.FIELD_CLASS_SCORES
_FORBIDDEN: Mapping[int, int] = {
    # A school does not diagnose: no policy and no template can put a finding into a notice to guardians. Nor what
    # another guardian signed.
    pb.DOCUMENT_KIND_NOTICE: _CLINICAL | 1 << options.FIELD_CLASS_CONSENT_EVIDENCE,
}


class TemplateError(ValueError):
    """A template cannot be used: names file, place and how to mend it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Words(_Part):
    """A text in both languages."""

    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)

    def __call__(self, language: str) -> str:
        """The text in ``zh`` or ``en``."""
        return self.zh if language == "zh" else self.en


class Row(_Part):
    """A line of the table: a label, and the fields that fill it or a blank to write on.

    ``as`` says how a value is written: text, a time or day, a choice (an enum or flag, in the words given), or a list.
    """

    label: Words
    fields: tuple[str, ...] = ()
    kind: Literal["text", "time", "day", "choice", "list"] = Field(default="text", alias="as")
    words: Mapping[str, Words] = {}
    blank: bool = False
    lines: int = Field(default=1, ge=1, le=12)


class Section(_Part):
    """A heading, a paragraph, a table, lines to sign on, a QR code: those that are given, in this order."""

    heading: Words | None = None
    text: Words | None = None
    rows: tuple[Row, ...] = ()
    signatures: tuple[Words, ...] = ()
    qr: str = ""
    qr_note: Words | None = None


class Audience(_Part):
    """For whose eyes a form is: the classes it may hold are what the policy can ever grant these."""

    role: str
    purposes: tuple[str, ...] = Field(min_length=1)


class Template(_Part):
    """One form. ``id-version`` is what consent evidence cites. ``valid_to`` is the last day on which its words hold,
    where that is known; from then on it is among the repairs."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.-]{1,20}$")]
    kind: str
    audience: Audience
    title: Words
    number: str = ""
    banner: Words | None = None
    sections: tuple[Section, ...] = Field(min_length=1)
    footer: Words | None = None
    plain_words: tuple[str, ...] = ()
    valid_to: date | None = None
    withheld: Words = Words(zh="（依规定不予显示）", en="(withheld)")

    @property
    def form_version(self) -> str:
        """`consent-2026-11`."""
        return f"{self.id}-{self.version}"

    def names_a_disorder(self, text: str) -> bool:
        """Whether ``text`` holds one of ``plain_words``, the names of disorders a school must not write.

        However wide its letters and wherever it is broken: it is a reminder for honest writers, not a wall.
        """
        folded = unicodedata.normalize("NFKC", text).casefold()
        joined = "".join(folded.split())
        words = [word.casefold() for word in self.plain_words]
        return any(word in folded or "".join(word.split()) in joined for word in words)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The forms of a district by kind, and the mask of classes each may hold; ``fonts`` are more font files to use.

    ``versions`` has the SHA-256 of the file of every (kind, form version), the retired ones of ``retired/`` too: what
    was signed before a change of the words is evidence still.
    """

    templates: Mapping[int, Template]
    masks: Mapping[int, int]
    fonts: tuple[Path, ...] = ()
    versions: Mapping[tuple[int, str], bytes] = field(default_factory=dict[tuple[int, str], bytes])


def load_catalogue(folder: Path, policy: Policy) -> Catalogue:
    """Read every template of a folder. Raises TemplateError.

    Each field a template names must exist and its class be one that the policy can grant to the form's reader; a
    notice can never hold a finding, whatever the policy says.
    """
    if not folder.is_dir():
        raise TemplateError(f"{folder}: no such folder of document templates")
    templates: dict[int, Template] = {}
    masks: dict[int, int] = {}
    versions: dict[tuple[int, str], bytes] = {}
    for path in sorted(folder.glob("*.yaml")):
        template = _read(path)
        kind = _kind(path, template)
        if kind in templates:
            raise TemplateError(f"{path.name}: a second template of kind {template.kind}; keep one")
        masks[kind] = _mask(path, template, policy) & ~_FORBIDDEN.get(kind, 0)
        for place, name in _named(template):
            label = _class_of(path, place, name)
            if not masks[kind] >> label & 1:
                raise TemplateError(
                    f"{path.name}: {place}: {name} is {class_name(label)}, which a reader in the role "
                    f"{template.audience.role} may not see on this form; take it out"
                )
        templates[kind] = template
        versions[kind, template.form_version] = hashlib.sha256(path.read_bytes()).digest()
    for path in sorted((folder / "retired").glob("*.yaml")):
        template = _parsed(path)
        if (
            versions.setdefault(
                (_kind(path, template), template.form_version), digest := hashlib.sha256(path.read_bytes()).digest()
            )
            != digest
        ):
            raise TemplateError(f"{path.name}: version {template.version} stands twice; give each text its own version")
    if not templates:
        raise TemplateError(f"{folder}: no template (*.yaml) in this folder")
    return Catalogue(
        templates,
        masks,
        tuple(sorted([*(folder / "fonts").glob("*.otf"), *(folder / "fonts").glob("*.ttf")])),
        versions,
    )


def load_template(path: Path, policy: Policy) -> Template:
    """Read and check the one template at ``path``, with its neighbours. Raises TemplateError."""
    catalogue = load_catalogue(path.parent, policy)
    return next(template for template in catalogue.templates.values() if template.id == path.stem)


def text_digest(template: Template, language: str, filled: Iterable[str]) -> bytes:
    """SHA-256 of the form as its signers read it: its version, language and every line before any handwriting."""
    lines = [template.form_version, language, *filled]
    return hashlib.sha256("\n".join(lines).encode()).digest()


def _parsed(path: Path) -> Template:
    try:
        return Template.model_validate(plainyaml.load(path.read_bytes()))
    except (ValidationError, yaml.YAMLError) as error:
        raise TemplateError(f"{path.name}: {error}") from None


def _read(path: Path) -> Template:
    template = _parsed(path)
    if template.id != path.stem:
        raise TemplateError(f"{path.name}: its id is {template.id!r}; name the file after it")
    return template


def _kind(path: Path, template: Template) -> int:
    known = {name.removeprefix("DOCUMENT_KIND_"): value for name, value in pb.DocumentKind.items() if value}
    if template.kind not in known:
        raise TemplateError(f"{path.name}: kind: {template.kind!r} is none of {', '.join(known)}")
    return known[template.kind]


def _mask(path: Path, template: Template, policy: Policy) -> int:
    mask = 0
    try:
        (role,) = numbers_of(options.Role, "ROLE_", [template.audience.role], path.name)
        for purpose in numbers_of(options.Purpose, "PURPOSE_", template.audience.purposes, path.name):
            mask |= policy.ceiling([role], purpose)
    except PolicyError as error:
        raise TemplateError(str(error)) from None
    return mask & ~mask_of_names(["COUNSELLING_NOTE"], path.name)


def _named(template: Template) -> Iterator[tuple[str, str]]:
    if template.number:
        yield "number", template.number
    for index, section in enumerate(template.sections):
        place = f"sections[{index}]"
        if section.qr:
            yield f"{place}.qr", section.qr
        for words in (section.text, section.heading):
            for text in (words.zh, words.en) if words else ():
                yield from ((f"{place}.text", field) for field in PLACEHOLDER.findall(text))
        for number, row in enumerate(section.rows):
            yield from ((f"{place}.rows[{number}]", field) for field in row.fields)


def _class_of(path: Path, place: str, field: str) -> int:
    """The class of a dotted path into DocumentContent."""
    found: Descriptor | None = pb.DocumentContent.DESCRIPTOR
    leaf: FieldDescriptor | None = None
    for name in field.split("."):
        leaf = found.fields_by_name.get(name) if found is not None else None
        if leaf is None:
            raise TemplateError(f"{path.name}: {place}: there is no field {field}; see DocumentContent in notice.proto")
        found = leaf.message_type
    if leaf is None or found is not None:
        raise TemplateError(f"{path.name}: {place}: {field} is a record, not a field; name one of its fields")
    return field_class(leaf)
