"""Texts about printed forms."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "documents": (
        "Printed forms: notices, referral slips, consent forms, feedback slips.",
        "文书：告知书、转介单、知情同意书、反馈单。",
    ),
    "documents.list": ("List the district's forms and check their templates.", "列出本区县的文书并检查模板。"),
    "documents.render": (
        "Print a form to a PDF file.\n\n"
        "\b\nExamples:\n"
        "  xinqiao documents render notice notices/ID --out notice.pdf --as psych-chen\n"
        "  xinqiao documents render consent students/NAME --out consent.pdf --as psych-chen --recipient HOSPITAL",
        "把文书输出为 PDF 文件。\n\n"
        "\b\n示例：\n"
        "  xinqiao documents render notice notices/ID --out notice.pdf --as psych-chen\n"
        "  xinqiao documents render consent students/NAME --out consent.pdf --as psych-chen --recipient HOSPITAL",
    ),
    "documents.verify": (
        "Say whether the code on a notice is genuine: with the public key alone, or --online, which also knows of\n"
        "revocations. Exit code 0: genuine and in force; 65: not.",
        "核验告知书二维码真伪：仅用公钥，或加 --online 向网关查询（可知是否已撤销）。\n退出码：0 真实有效；65 否。",
    ),
    "arg.form": ("notice, referral, feedback or consent", "notice、referral、feedback 或 consent"),
    "arg.subject": ("notices/ID, referrals/ID or students/NAME", "notices/ID、referrals/ID 或 students/NAME"),
    "arg.code": ("The text of the QR code.", "二维码内容。"),
    "opt.out": ("File to write; mode 0600.", "写入的文件；权限 0600。"),
    "opt.form_language": ("Language of the form: zh or en.", "文书语言：zh 或 en。"),
    "opt.recipient": ("With consent: partner id of the recipient.", "知情同意书：接收方的伙伴 id。"),
    "opt.purpose": ("With consent: for what.", "知情同意书：用途。"),
    "opt.classes": ("With consent: classes asked for, with commas.", "知情同意书：所需信息类别，以逗号分隔。"),
    "opt.days": ("With consent: days until it ends.", "知情同意书：有效天数。"),
    "opt.at_family_request": (
        "With consent: the family came by itself; after a refusal nobody else may ask for 180 days.",
        "知情同意书：家庭主动提出；拒绝后 180 天内不得再次征求。",
    ),
    "opt.document_key": (
        "Public key file; by default beside the configured document_key.",
        "公钥文件；默认取配置中 document_key 旁的公钥。",
    ),
    "opt.online": ("Ask the gateway, as the partner named by --as.", "以 --as 指定的伙伴身份向网关查询。"),
    "documents.written": (
        "{file}: {form}, SHA-256 of the text {digest}, of the template {template}",
        "{file}：{form}，文本 SHA-256 {digest}，模板 SHA-256 {template}",
    ),
    "documents.missing": (
        "no font has {glyphs}: printed as numbers in brackets, write them by hand or add a font to documents/fonts",
        "字库缺字 {glyphs}：已以编号印出，请手写补全，或将字体放入 documents/fonts",
    ),
    "documents.withheld": ("withheld: {fields}", "未显示：{fields}"),
    "documents.genuine": ("genuine, issued {day}", "真实，签发于 {day}"),
    "documents.expired": ("genuine, but out of date; issued {day}", "真实，但已过有效期；签发于 {day}"),
    "documents.revoked": ("revoked; issued {day}", "已撤销；签发于 {day}"),
    "documents.not_genuine": ("not genuine: not issued here, or changed", "不真实：非本网关签发或被改动"),
    "documents.offline": (
        "offline nobody knows whether it was revoked: ask with --online",
        "离线无法得知是否已撤销：请用 --online 查询",
    ),
    "documents.no_folder": (
        "{file}: name the folder of templates under `documents`",
        "{file}：请在 `documents` 下指定模板目录",
    ),
    "documents.no_key": (
        "{file}: name the key under `document_key`, or use --key",
        "{file}：请在 `document_key` 下指定密钥，或用 --key",
    ),
    "documents.word": ("unknown word; one of {choices}", "未知的词；可用：{choices}"),
}
