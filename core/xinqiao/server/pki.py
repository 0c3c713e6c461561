"""Certificates for a deployment's own small authority (`xinqiao keys init`): one SPIFFE URI each, 90 days."""

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from xinqiao.contract.clock import Clock, from_us

_LEAF_DAYS = 90  # short life: a stolen certificate dies by itself
_CA_DAYS = 3650


class Authority:
    """A certificate authority in a folder: `ca.pem`, `ca.key`. Keep `ca.key` off the gateway in production."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Open the authority in ``folder``, or found it there."""
        self._clock = clock
        self._folder = folder
        certificate, key = folder / "ca.pem", folder / "ca.key"
        if key.exists():
            self._key = _load_key(key)
            self._certificate = x509.load_pem_x509_certificate(certificate.read_bytes())
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "XinQiao deployment CA")])
        self._certificate = (
            self._builder(name, name, self._key.public_key(), _CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        write_private(key, _pem(self._key))
        certificate.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, *, uris: Iterable[str] = (), dns: Iterable[str] = (), days: int = _LEAF_DAYS
    ) -> tuple[bytes, bytes]:
        """A new certificate and private key, PEM. ``uris`` are SPIFFE ids, ``dns`` host names of a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.DNSName(host) for host in dns]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        certificate = (
            self._builder(subject, self._certificate.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
    ) -> x509.CertificateBuilder:
        now = from_us(self._clock.now_us())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=days))
        )


def write_private(path: Path, content: bytes) -> None:
    """Write a secret with mode 0600 from its first byte on; an existing file is kept and raises FileExistsError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is not an elliptic-curve key")
    return key
