"""Certificates of the listeners."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def server_context(
    certificate: str | None, key: str | None, hostname: str, folder: Path
) -> ssl.SSLContext:
    """A context with the given files, or with a self-signed certificate as kumod makes one."""
    if certificate is None or key is None:
        certificate, key = _self_signed(hostname, folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def _self_signed(hostname: str, folder: Path) -> tuple[str, str]:
    cert_file, key_file = folder / "self-signed.crt", folder / "self-signed.key"
    if not (cert_file.exists() and key_file.exists()):
        # An elliptic curve key: fifty clients that connect at once cost little.
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
        # Certificates are judged by the machines' real clocks, not by the world's.
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return str(cert_file), str(key_file)
