"""Texts about legal bases."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "policy": ("Legal bases: sign and check.", "法律依据：签名与核验。"),
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
