"""Nodes that may join and have joined: invited with a secret, certified, renewed, removed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from django.conf import settings
from django.utils import timezone
from django.utils.crypto import salted_hmac

from agents import join_string
from agents.identity import Identity
from agents.join_string import JoinString
from inventory import audit
from inventory.audit import Action
from inventory.command_line import manage
from inventory.errors import Exists, Forbidden, Invalid, NotFound
from inventory.models import Member
from inventory.write_lock import write_lock
from vastsky_site.access import certificates, tokens
from vastsky_site.models import ApiToken

Roles = Member.Roles
NOT_VALID = "the join string is wrong, was used, or is too old; make another one"


EXAMPLES: dict[str, str] = {
    Roles.HEAD: "--head",
    Roles.STORAGE: "--storage --disk /dev/disk/by-id/...",
    Roles.BOTH: "--head --storage --disk /dev/disk/by-id/...",
}
"""What stands behind a join string in the line to paste, by what the node was invited as."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a node is given: it may be given again, to the same key."""

    name: str
    certificate: str
    token_name: str
    token: str


def fingerprint() -> bytes:
    """Tell the fingerprint of the cluster's authority, as a join string has it."""
    return authority().fingerprint(SHA256())


def authority() -> x509.Certificate:
    """Read the authority's certificate; Invalid where the manager has none."""
    return x509.load_pem_x509_certificate(_identity().authority.read_bytes())


def why_nobody_joins() -> str:
    """Say what a manager lacks to take nodes in; "" where it lacks nothing."""
    try:
        authority()
    except Invalid as refusal:
        return str(refusal)
    except OSError as error:
        return f"the authority's certificate cannot be read: {error.strerror}"
    return ""


@write_lock()
def invite(name: str, roles: str, urls: Sequence[str], valid: timedelta) -> JoinString:
    """Let a machine of this name join once; Exists if there is such a node."""
    if not certificates.NAME.fullmatch(name) or name == certificates.AUTHORITY:
        raise Invalid(f"{name[:80]!r} cannot name a node; letters, digits, - and . can")
    if roles not in Roles.values:
        raise Invalid(f"roles are one of {', '.join(Roles.values)}, not {roles[:40]!r}")
    if Member.objects.filter(name=name).exists():
        raise Exists(
            f"there is a node {name}: `{manage(f'node rekey {name}')}` makes it a new join string"
        )
    string = _string(urls)
    row = Member.objects.create(name=name, roles=roles, **_invitation(string, valid))
    audit.record(Action.INVITE_NODE, row, f"as {roles}, until {row.invited_until:%Y-%m-%d %H:%M}")
    return string


@write_lock()
def rekey(name: str, urls: Sequence[str], valid: timedelta) -> JoinString:
    """Let a node join anew, by another key; until it does, its old key and token are good."""
    row = find(name)
    string = _string(urls)
    Member.objects.filter(pk=row.pk).update(**_invitation(string, valid))
    audit.record(Action.INVITE_NODE, row, "again, with a new key")
    return string


@write_lock()
def revoke_invitation(name: str) -> None:
    """Let nobody join by a node's join string; a node that never joined is forgotten with it."""
    row = find(name)
    if not row.secret_hash or row.used_by:
        raise Invalid(f"no join string of {row} waits to be used")
    if row.token_name:
        Member.objects.filter(pk=row.pk).update(secret_hash="", invited_until=None)
    else:
        row.delete()
    audit.record(Action.REVOKE_INVITATION, row)


@write_lock()
def join(secret: bytes, request: str, roles: str, addresses: Sequence[str]) -> Admission:
    """Take a machine in; a repeat by the same key is answered the same, by another one refused."""
    key = certificates.read_request(request)
    row = Member.objects.filter(secret_hash=_hash(secret), invited_until__gt=timezone.now()).first()
    if row is None:
        raise Forbidden(NOT_VALID)
    if not set(roles.split(",")) <= set(row.roles.split(",")):
        raise Forbidden(f"{row} was invited as {row.roles}, not as {roles[:40]}")
    _check_addresses(row, addresses)
    certificate = certificates.sign(_folder(), row.name, addresses, key)
    digest = certificates.digest(key)
    if not Member.objects.filter(pk=row.pk, used_by__in=["", digest]).update(used_by=digest):
        raise Forbidden(NOT_VALID)
    text = _token_text(secret, digest)
    token_name = _give_token(row, text)
    Member.objects.filter(pk=row.pk).update(
        public_key=digest,
        addresses=",".join(addresses),
        token_name=token_name,
        certificate_ends=certificate.not_valid_after_utc,
    )
    return Admission(row.name, certificates.pem(certificate), token_name, text)


@write_lock()
def renew(token_id: int, request: str) -> str:
    """Certify a node's key anew, at the addresses that it joined with; only the key it joined with.

    So a token that was stolen gets nobody a certificate.
    """
    names = ApiToken.objects.filter(pk=token_id).values("name")
    row = Member.objects.filter(token_name__in=names).first()
    key = certificates.read_request(request)
    if row is None or row.public_key != certificates.digest(key):
        raise Forbidden("no node that joined has this token and this key")
    certificate = certificates.sign(_folder(), row.name, row.addresses.split(","), key)
    Member.objects.filter(pk=row.pk).update(certificate_ends=certificate.not_valid_after_utc)
    audit.record(Action.RENEW_NODE, row, f"until {certificate.not_valid_after_utc:%Y-%m-%d}")
    return certificates.pem(certificate)


@write_lock()
def rename(name: str, new: str) -> None:
    """Call a node otherwise; its certificate has the new name from its next renewal on."""
    if not certificates.NAME.fullmatch(new) or new == certificates.AUTHORITY:
        raise Invalid(f"{new[:80]!r} cannot name a node; letters, digits, - and . can")
    row = find(name)
    if Member.objects.filter(name=new).exclude(pk=row.pk).exists():
        raise Exists(f"there is a node {new}")
    Member.objects.filter(pk=row.pk).update(name=new)
    audit.record(Action.RENAME_MEMBER, row, f"to {new}")


@write_lock()
def remove(name: str) -> None:
    """Let a node call no more; its servers are deleted apart from that, once they are empty."""
    row = find(name)
    if row.token_name:
        tokens.revoke_token(row.token_name)
    row.delete()
    audit.record(Action.REMOVE_MEMBER, row)


def find(name: str) -> Member:
    """Find a node by its name."""
    row = Member.objects.filter(name=name).first()
    if row is None:
        raise NotFound(f"there is no node {name[:80]}")
    return row


def _string(urls: Sequence[str]) -> JoinString:
    if not urls:
        raise Invalid("where do nodes reach the manager? Set VASTSKY_MANAGER_URLS, or say --url")
    if wrong := [url for url in urls if not url.startswith("https://") or " " in url]:
        raise Invalid(f"{wrong[0]!r} is not of the form https://HOST:PORT")
    plain = tuple(url.removesuffix("/RPC2").rstrip("/") for url in urls)
    return JoinString(plain, fingerprint(), join_string.new_secret())


def _invitation(string: JoinString, valid: timedelta) -> dict[str, Any]:
    until = timezone.now() + valid
    return {"secret_hash": _hash(string.secret), "invited_until": until, "used_by": ""}


def _hash(secret: bytes) -> str:
    return hashlib.sha256(b"vastsky join " + secret).hexdigest()


def _token_text(secret: bytes, key: str) -> str:
    """Make a token of what only this node brings: a repeat finds the same one, which we forget."""
    told = salted_hmac("vastsky.join", secret.hex() + key, algorithm="sha256")
    return tokens.PREFIX + told.hexdigest()


def _give_token(row: Member, text: str) -> str:
    """Make the node's token, for the servers that its last one spoke for, and revoke that one."""
    if tokens.find_token(row.token_name, text):
        return row.token_name
    old = ApiToken.objects.filter(name=row.token_name).first()
    token, _ = tokens.create_token(
        name=_free_name(row.name),
        role=ApiToken.Role.AGENT,
        head=old.head if old else None,
        storage=old.storage if old else None,
        text=text,
    )
    if old:
        tokens.revoke_token(old.name)
    audit.record(Action.JOIN_NODE, row, f"with token {token.name}")
    return token.name


def _free_name(name: str) -> str:
    """Name a token after its node: a name that was ever used is not used again."""
    base = name[:58]
    taken = set(ApiToken.objects.filter(name__startswith=base).values_list("name", flat=True))
    numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    return next(one for one in (base, *numbered) if one not in taken)


def _check_addresses(row: Member, addresses: Sequence[str]) -> None:
    """A certificate for an address lets a node pass for whoever else answers there."""
    if len(addresses) not in (1, 2) or any(not _is_address(one) for one in addresses):
        raise Invalid("a node has one or two IPv4 addresses")
    others = Member.objects.exclude(pk=row.pk).exclude(addresses="")
    taken = {one: other for other in others for one in other.addresses.split(",")}
    for address in addresses:
        if address in taken:
            raise Exists(f"{address} is an address of {taken[address]}")
        if address in _own_addresses():
            raise Exists(
                f"{address} is an address of the manager, for which no node may pass: its own"
                f" node gets a certificate by `{manage('certificate')}`"
            )


def _own_addresses() -> set[str]:
    """Tell the addresses that the manager's own certificate is good for."""
    own = x509.load_pem_x509_certificate(_identity().certificate.read_bytes())
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one) for one in names.get_values_for_type(x509.IPAddress)}


def _is_address(text: str) -> bool:
    try:
        return str(IPv4Address(text)) == text
    except ValueError:
        return False


def _folder() -> Path:
    """Name the folder of the authority's key: beside its certificate."""
    return _identity().authority.parent


def _identity() -> Identity:
    identity: Identity | None = settings.VASTSKY_IDENTITY
    if identity is None:
        raise Invalid(
            f"nodes join over TLS: make `{manage('certificate NAME ADDRESS --manager')}` and set"
            " VASTSKY_TLS_CERTIFICATE, _KEY and _AUTHORITY"
        )
    return identity
