"""Texts about the policy and legal bases."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "policy": (
        "Who may see what: show, compare; legal bases: sign, check.",
        "谁可以看什么：查看、比较；法律依据：签名、核验。",
    ),
    "policy.show": (
        "Who may see which classes of field, for which purpose, and what that takes.\n\n"
        "\b\nExample:\n  xinqiao policy show config/policy/disclosure.yaml --role HOSPITAL",
        "谁可为何目的查看哪些字段类，以及需要什么。\n\n"
        "\b\n示例：\n  xinqiao policy show config/policy/disclosure.yaml --role HOSPITAL",
    ),
    "policy.diff": (
        "What a changed policy opens or shuts, cell by cell.\nExit code 65: something opens; have it approved.\n\n"
        "\b\nExample:\n  xinqiao policy diff config/policy/disclosure.yaml new/disclosure.yaml",
        "策略变更放开或收紧了哪些格。\n退出码 65：有放开之处，须经批准。\n\n"
        "\b\n示例：\n  xinqiao policy diff config/policy/disclosure.yaml new/disclosure.yaml",
    ),
    "arg.policy": ("A disclosure.yaml.", "disclosure.yaml 文件。"),
    "opt.role": ("Only this role, such as HOSPITAL.", "只看此角色，如 HOSPITAL。"),
    "policy.same": ("Nobody sees more or less.", "没有任何变化。"),
    "policy.opens": ("{count} cells open: have that approved.", "有 {count} 格放开：须经批准。"),
    "takes.free": ("nothing", "无需"),
    "takes.consent": ("a consent", "同意"),
    "takes.basis": ("a legal basis", "法律依据"),
    "takes.consent or basis": ("a consent or a legal basis", "同意或法律依据"),
    "takes.never": ("never", "不可"),
    "col.relation": ("relation", "关系"),
    "col.takes": ("takes", "需要"),
    "col.before": ("before", "原"),
    "col.after": ("after", "现"),
    "policy.sign": (
        "Sign a file of legal bases, once a lawyer has read it; writes FILE.sig.\n\n"
        "\b\nExample:\n"
        "  xinqiao policy sign config/policy/legal_bases.yaml --key var/pki/legal.key",
        "在律师审定后为法律依据文件签名，写出 FILE.sig。\n\n"
        "\b\n示例：\n"
        "  xinqiao policy sign config/policy/legal_bases.yaml --key var/pki/legal.key",
    ),
    "policy.check": (
        "List the legal bases and which are in force today; with --key also check the signature.\n"
        "Exit code 78: the signature does not hold.\n\n"
        "\b\nExample:\n"
        "  xinqiao policy check config/policy/legal_bases.yaml --key var/pki/legal.pub",
        "列出法律依据及其今日是否有效；加 --key 同时核验签名。\n退出码 78：签名不成立。\n\n"
        "\b\n示例：\n"
        "  xinqiao policy check config/policy/legal_bases.yaml --key var/pki/legal.pub",
    ),
    "arg.bases": ("The file of legal bases.", "法律依据文件。"),
    "opt.bases_private": ("Ed25519 private key, PEM, mode 0600.", "Ed25519 私钥，PEM，权限 0600。"),
    "opt.bases_public": ("Ed25519 public key, PEM.", "Ed25519 公钥，PEM。"),
    "opt.create_key": ("Make the key first; its public half goes beside it.", "先生成密钥；公钥写在其旁。"),
    "policy.signed": (
        "Signed: {file}. Name the public key under legal_bases_key: {public}",
        "已签名：{file}。请在 legal_bases_key 中写明公钥：{public}",
    ),
    "policy.sound": ("The signature holds.", "签名成立。"),
    "policy.unsound": ("THE SIGNATURE DOES NOT HOLD.", "签名不成立。"),
    "policy.unchecked": ("The signature was not checked: name a --key.", "未核验签名：请用 --key 指定公钥。"),
    "col.basis_id": ("Basis", "依据"),
    "col.basis_version": ("Version", "版本"),
    "col.basis_from": ("From", "生效"),
    "col.basis_to": ("To", "失效"),
    "col.basis_state": ("Today", "今日"),
    "col.basis_citation": ("Articles", "条文"),
    "basis.valid": ("in force", "有效"),
    "basis.not_yet": ("not yet", "尚未生效"),
    "basis.expired": ("expired", "已失效"),
}
