"""Certificates for tests: an authority, and what it signs for this machine."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """PEM files: the certificate, its key, and both in one."""

    certfile: Path
    keyfile: Path
    both: Path


class Authority:
    """Signs certificates; its own is at `cafile`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        usage = x509.BasicConstraints(ca=True, path_length=None)
        own = _builder(self._name, self._name, self._key).add_extension(usage, critical=True)
        self.cafile = folder / f"{name}.pem"
        self.cafile.write_bytes(_pem(own.sign(self._key, hashes.SHA256())))

    def sign(self, name: str) -> Certificate:
        """A certificate for `name`, which also stands for this machine's loopback."""
        key = ec.generate_private_key(ec.SECP256R1())
        places = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        )
        built = _builder(_named(name), self._name, key).add_extension(places, critical=False)
        certificate = _pem(built.sign(self._key, hashes.SHA256()))
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        made = Certificate(*(self._folder / f"{name}.{end}" for end in ("crt", "key", "both")))
        made.certfile.write_bytes(certificate)
        made.keyfile.write_bytes(secret)
        made.both.write_bytes(secret + certificate)
        return made


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
