"""Who may join by a join string, for how long, and what a node is given at /join."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.test import Client
from pytest_django import Settings
from time_machine import travel

from agents.identity import Identity
from agents.join_string import JoinString
from inventory.errors import Exists
from inventory.models import AuditEntry, HeadServer, Member
from tests.access.conftest import basic, outcome, post
from vastsky_site import join_door
from vastsky_site.access import certificates, members, tokens
from vastsky_site.models import ApiToken
from volumes.reports import problems

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
URLS = ["https://10.0.0.1:8881"]


@pytest.fixture(autouse=True)
def _an_authority(tmp_path: Path, settings: Settings) -> Iterator[None]:
    certificates.issue(tmp_path, "manager", ["10.0.0.1"], may_call=True)
    files = [tmp_path / name for name in ("manager.pem", "manager.key", "authority.pem")]
    settings.VASTSKY_IDENTITY = Identity(*files)
    join_door.attempts.clear()
    yield
    join_door.attempts.clear()


class Machine:
    """A machine with a key of its own that comes to the door."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())

    def request(self) -> str:
        draft = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return draft.sign(self.key, SHA256()).public_bytes(Encoding.PEM).decode()

    def join(self, string: JoinString, **about: Any) -> Any:
        body = {"secret": string.secret.hex(), "roles": "head", "addresses": ["10.1.0.7"], **about}
        return knock("/join", body | {"request": self.request()})


def knock(path: str, body: Any, **headers: str) -> Any:
    return Client().post(
        path,
        json.dumps({"version": 1, **body}),
        content_type="application/json",
        secure=True,
        headers=headers,
    )


def invite(name: str = "node-7", roles: str = "head,storage") -> JoinString:
    return members.invite(name, roles, URLS, DAY)


def test_a_machine_that_joins_may_answer_for_its_addresses_and_call_with_its_token() -> None:
    answer = Machine().join(invite(), addresses=["10.1.0.7", "10.2.0.7"]).json()

    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {str(one) for one in names.get_values_for_type(x509.IPAddress)} == {
        "10.1.0.7",
        "10.2.0.7",
    }
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    allowed = basic(answer["token_name"], answer["token"])
    assert outcome(post("vastsky.clusterInfo", {"ver": 5}, HTTP_AUTHORIZATION=allowed)) == 0


def test_an_answer_that_was_lost_is_given_again_to_the_same_key() -> None:
    string, machine = invite(), Machine()

    first, second = machine.join(string).json(), machine.join(string).json()

    assert (first["token_name"], first["token"]) == (second["token_name"], second["token"])
    assert ApiToken.objects.count() == 1
    assert AuditEntry.objects.filter(verb="join_node").count() == 1


def test_a_join_string_that_was_used_lets_no_other_key_in() -> None:
    string = invite()
    Machine().join(string)

    assert Machine().join(string).status_code == 403


def test_a_join_string_is_good_until_it_ends() -> None:
    string = invite()

    with travel(datetime.now(UTC) + DAY, tick=False):
        assert Machine().join(string).status_code == 403


def test_a_machine_joins_as_nothing_that_it_was_not_invited_as() -> None:
    assert Machine().join(invite(roles="storage")).status_code == 403


@pytest.mark.parametrize("address", ["10.1.0.7", "10.0.0.1"])
def test_nobody_gets_a_certificate_for_an_address_of_another_node_or_the_manager(
    address: str,
) -> None:
    Machine().join(invite())

    answer = Machine().join(invite("node-8"), addresses=[address])

    assert answer.status_code == 409
    assert f"{address} is an address of" in answer.json()["error"]


def test_the_secret_is_nowhere_in_the_database() -> None:
    string = invite()
    token = Machine().join(string).json()["token"]

    rows = repr(
        [*Member.objects.values(), *ApiToken.objects.values(), *AuditEntry.objects.values()]
    )
    assert string.secret.hex() not in rows
    assert str(string) not in rows
    assert token not in rows


def test_who_guesses_is_not_listened_to() -> None:
    wrong = JoinString(("https://10.0.0.1",), b"\0" * 32, b"\0" * 18)
    machine = Machine()

    answers = [machine.join(wrong).status_code for _ in range(21)]

    assert answers == [403] * 20 + [429]


def test_nothing_is_said_where_others_listen() -> None:
    assert Client().get("/join").status_code == 403
    assert Client().get("/join", secure=True).status_code == 200


@pytest.mark.parametrize("body", [{"secret": "zz"}, {"secret": 7}, {"version": 2}, {"secret": ""}])
def test_what_makes_no_sense_is_refused(body: dict[str, object]) -> None:
    assert knock("/join", body).status_code == 409


def test_a_node_renews_its_certificate_by_its_token_and_its_own_key_only() -> None:
    machine = Machine()
    answer = machine.join(invite()).json()
    allowed = basic(answer["token_name"], answer["token"])

    with travel(datetime.now(UTC) + 700 * DAY, tick=False):
        body = {"request": machine.request()}
        renewed = knock("/join/renew", body, authorization=allowed).json()
        stolen = knock("/join/renew", {"request": Machine().request()}, authorization=allowed)
        nobody = knock("/join/renew", body)

    certificate = x509.load_pem_x509_certificate(renewed["certificate"].encode())
    assert certificate.not_valid_after_utc > datetime.now(UTC) + 1400 * DAY
    assert (stolen.status_code, nobody.status_code) == (403, 403)


def test_a_certificate_that_nobody_renews_is_a_problem() -> None:
    Machine().join(invite())
    assert not [one for one in problems.find() if "certificate" in one.title]

    Member.objects.update(certificate_ends=datetime.now(UTC) + 29 * DAY)

    assert problems.is_anything_wrong()
    (problem,) = [one for one in problems.find() if "certificate" in one.title]
    assert "node node-7" in problem.title


def test_a_node_with_a_new_key_speaks_for_the_servers_of_the_old_one() -> None:
    before = Machine().join(invite()).json()
    head = HeadServer.objects.create(pk=77)
    tokens.bind_token(ApiToken.objects.get().pk, head=head.pk)
    string = members.rekey("node-7", URLS, DAY)
    assert tokens.find_token(before["token_name"], before["token"])

    after = Machine().join(string).json()

    assert tokens.find_token(before["token_name"], before["token"]) is None
    row = tokens.find_token(after["token_name"], after["token"])
    assert row is not None
    assert row.head == head.pk


def test_a_node_that_is_removed_calls_no_more_and_its_name_is_free() -> None:
    answer = Machine().join(invite()).json()

    members.remove("node-7")

    assert tokens.find_token(answer["token_name"], answer["token"]) is None
    again = Machine().join(invite()).json()
    assert again["token_name"] == "node-7-2"


def test_a_name_is_one_nodes() -> None:
    invite()
    invite("node-8")

    with pytest.raises(Exists):
        members.rename("node-8", "node-7")
    members.rename("node-8", "node-9")
    assert sorted(Member.objects.values_list("name", flat=True)) == ["node-7", "node-9"]


def test_a_broken_basic_header_is_no_token() -> None:
    broken = "Basic " + base64.b64encode(b"\xff").decode()
    assert knock("/join/renew", {"request": ""}, authorization=broken).status_code == 401
