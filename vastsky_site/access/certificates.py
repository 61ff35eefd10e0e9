"""The cluster's own certificates: an authority's, the manager's, and one for each node."""

import hashlib
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inventory.errors import Exists, Invalid

AUTHORITY = "authority"
NAME = re.compile(r"[a-zA-Z0-9][-.a-zA-Z0-9]{0,62}")
LIFETIME = timedelta(days=3650)
"""As long for all: against a key that got lost helps a new authority, with new certificates."""
RENEWED_LIFETIME = timedelta(days=730)
"""Of the certificates of nodes that joined: they renew them by themselves."""
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH

Key = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


def issue(folder: Path, name: str, addresses: Sequence[str], *, may_call: bool = False) -> None:
    """Write NAME.pem and NAME.key, signed by the folder's authority, which is made at first use.

    The certificate is good for these addresses: IPs or host names. One that `may_call` is the
    manager's: whoever has its key gives orders to every node. Invalid for a name that cannot be
    used, Exists for one that is taken.
    """
    if not NAME.fullmatch(name) or name == AUTHORITY:
        raise Invalid(f"{name[:80]!r} cannot name a certificate; letters, digits, - and . can")
    if not addresses:
        raise Invalid("a certificate is good for one address at least")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / f"{AUTHORITY}.pem").exists():
        _make_authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    usage = [SERVER, CLIENT] if may_call else [SERVER]
    certificate = _certify(
        folder, name, addresses, key.public_key(), usage=usage, lifetime=LIFETIME
    )
    _write(folder, name, key, certificate)


def read_request(pem: str) -> PublicKey:
    """Read a certificate request: the key that it was made with; Invalid if it is none of ours.

    What else it says is not looked at: the manager decides what a certificate says.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        valid = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Invalid("the certificate request cannot be read") from None
    if not valid or not isinstance(key, PublicKey) or key.curve.name != ec.SECP256R1.name:
        raise Invalid("a certificate request is signed with a key of its own, on secp256r1")
    return key


def sign(folder: Path, name: str, addresses: Sequence[str], key: PublicKey) -> x509.Certificate:
    """Certify a node's own key by the folder's authority; it may answer there, and never call."""
    try:
        return _certify(folder, name, addresses, key, usage=[SERVER], lifetime=RENEWED_LIFETIME)
    except OSError as error:
        text = f"this manager cannot sign certificates: {AUTHORITY}.key: {error.strerror}"
        raise Invalid(text) from None


def digest(key: PublicKey) -> str:
    """Name a key, by the SHA-256 of what anybody may know of it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def pem(certificate: x509.Certificate) -> str:
    """Write a certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _certify(
    folder: Path,
    name: str,
    addresses: Sequence[str],
    key: PublicKey,
    *,
    usage: Sequence[x509.ObjectIdentifier],
    lifetime: timedelta,
) -> x509.Certificate:
    authority, authority_key = _read_authority(folder)
    its_key = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    signer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(its_key)
    end = min(datetime.now(UTC) + lifetime, authority.not_valid_after_utc)
    return (
        _draft(_subject(name), authority.subject, key, end)
        .add_extension(signer, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_alternatives(addresses), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=True)
        .sign(authority_key, SHA256())
    )


def _make_authority(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"VastSky authority {x509.random_serial_number():x}"[:64])
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    draft = (
        _draft(subject, subject, key.public_key(), datetime.now(UTC) + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    _write(folder, AUTHORITY, key, draft.sign(key, SHA256()))


def _read_authority(folder: Path) -> tuple[x509.Certificate, Key]:
    pem = (folder / f"{AUTHORITY}.key").read_bytes()
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, Key):
        raise Invalid(f"{folder}/{AUTHORITY}.key is no key of ours")
    return x509.load_pem_x509_certificate((folder / f"{AUTHORITY}.pem").read_bytes()), key


def _draft(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, end: datetime
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # An hour ago: the nodes' clocks may be behind.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternatives(addresses: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_alternative(address) for address in addresses])


def _alternative(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        pass
    if not NAME.fullmatch(address) or address.replace(".", "").isdigit():
        raise Invalid(f"{address[:80]!r} is no address") from None
    return x509.DNSName(address)


def _write(folder: Path, name: str, key: Key, certificate: x509.Certificate) -> None:
    """Write the key for this user's eyes only, and the certificate last: it says that all is."""
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    if (folder / f"{name}.pem").exists():
        raise Exists(f"{folder}/{name}.pem exists; remove it first to replace it")
    (folder / f"{name}.key").unlink(missing_ok=True)
    with os.fdopen(os.open(folder / f"{name}.key", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(private)
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
