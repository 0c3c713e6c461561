"""The platform's code tables: what each answer, state, refusal and request for a supplement means."""

from typing import Literal, NamedTuple

Action = Literal["later", "refused", "record"]


class Meaning(NamedTuple):
    """What the gateway does about an answer, under which reason, and how to mend it."""

    action: Action
    reason: str
    message: str


OK = 0
DUPLICATE = 2102
"""This request number is known with this very content; ``data.ticket`` is the ticket it got."""

ANSWERS: dict[int, Meaning] = {
    1001: Meaning("refused", "PARTNER/UNAUTHORIZED", "the signature is not accepted; check secret and algorithm"),
    1002: Meaning("refused", "PARTNER/UNAUTHORIZED", "the application is not known or was switched off; check app_id"),
    1003: Meaning("refused", "PARTNER/CLOCK", "the clocks differ too much; set this machine's clock (NTP)"),
    1004: Meaning("later", "PARTNER/NONCE", "the nonce was used before; tried again with another"),
    2001: Meaning("refused", "PARTNER/CATALOGUE", "no such catalogue id; check catalogue in the settings"),
    2002: Meaning("refused", "PARTNER/NOT_AUTHORIZED", "no right to this catalogue id; apply for it on the platform"),
    2003: Meaning("refused", "PARTNER/AGENCY", "no such agency behind this catalogue id; check agency_code"),
    2101: Meaning("record", "DATA/PROFILE", "the platform finds the request incomplete; compare with its catalogue"),
    2103: Meaning("record", "DATA/KEY_REUSED", "the request number is known with other content; a person must look"),
    2104: Meaning("record", "DATA/DIGEST", "the content does not have its SHA-256; something on the way changes it"),
    2404: Meaning("record", "PARTNER/UNKNOWN_TICKET", "the platform does not know this ticket; send the record again"),
    3001: Meaning("later", "PARTNER/BUSY", "the platform is busy"),
    3002: Meaning("later", "PARTNER/MAINTENANCE", "the platform is in maintenance"),
}

State = Literal["SUBMITTED", "PROCESSING", "SUPPLEMENT", "REFUSED", "ANSWERED"]
STATES: dict[str, str] = {
    "SUBMITTED": "已提交",
    "PROCESSING": "已受理",
    "SUPPLEMENT": "需补正",
    "REFUSED": "不予共享",
    "ANSWERED": "已答复",
}

REFUSALS: dict[str, str] = {
    "NO_DUTY": "the agency says it is not its duty (非本部门职责)",
    "NO_BASIS": "the use basis is not enough (使用依据不足)",
    "OUT_OF_SCOPE": "more is asked than the use needs (超出履职范围)",
    "STATE_SECRET": "the law forbids to share it (依法不予共享)",
    "NO_CAPACITY": "the agency cannot take it now (暂无承接能力)",
    "WITHDRAWN": "the catalogue entry was withdrawn (目录已撤销)",
    "OTHER": "another reason, which the platform shows (其他)",
}

LAWS: dict[str, str] = {
    "SC-809": "《政务数据共享条例》",
    "PIPL": "《个人信息保护法》",
    "DSL": "《数据安全法》",
    "LOCAL": "the local sharing rules (地方共享办法)",
}

SUPPLEMENTS: dict[str, str] = {
    "BASIS": "use basis (使用依据)",
    "SCENE": "use scene (使用场景)",
    "SCOPE": "fields asked for (使用范围)",
    "CONTACT": "person to ask at the sender (联系人)",
    "SEAL": "official seal (公章)",
    "CONTENT": "the content itself (内容)",
}
