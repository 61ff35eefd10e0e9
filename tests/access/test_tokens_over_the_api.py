"""Tokens are made, listed and revoked over the API, by admins alone."""

import pytest
from django.test import Client

from inventory.models import AuditEntry
from tests.access.conftest import FAR, basic
from tests.contract.api import Api

ENOENT, EEXIST, EINVAL = 2, 17, 22

pytestmark = pytest.mark.django_db


def as_caller(name: str, token: str) -> Api:
    client = Client(headers={"authorization": basic(name, token)}, REMOTE_ADDR=FAR)
    return Api(client)


def test_a_token_that_was_made_over_the_api_lets_in_until_it_is_revoked(call: Api) -> None:
    token = call("vastsky.createToken", name="watch", role="reader")
    assert as_caller("watch", token)("listHeadServers") == []

    assert call("vastsky.revokeToken", name="watch") == 0

    assert as_caller("watch", token).fault("listHeadServers") == 13
    assert call("vastsky.revokeToken", name="watch") == 0
    verbs = AuditEntry.objects.order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["create_token", "revoke_token"]


def test_the_list_of_tokens_tells_all_but_the_tokens(call: Api) -> None:
    head = call("registerHeadServer", ip_data=["10.7.0.1"])
    token = call("vastsky.createToken", name="node-1", role="agent", hsvrid=head)

    (row,) = call("vastsky.listTokens")

    assert {name: row[name] for name in ("name", "role", "hsvrid", "ssvrid", "revoked")} == {
        "name": "node-1",
        "role": "agent",
        "hsvrid": head,
        "ssvrid": 0,
        "revoked": "",
    }
    assert row["created_by"] == "trusted address"
    assert token not in str(row)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": "watch", "role": "reader"}, EEXIST),
        ({"name": "b d", "role": "reader"}, EINVAL),
        ({"name": "new", "role": "king"}, EINVAL),
        ({"name": "new", "role": "reader", "hsvrid": 1}, EINVAL),
        ({"name": "new", "role": "agent", "hsvrid": 99}, EINVAL),
    ],
)
def test_a_token_that_may_not_be_is_refused(call: Api, wrong: dict[str, object], code: int) -> None:
    call("vastsky.createToken", name="watch", role="reader")

    assert call.fault("vastsky.createToken", **wrong) == code
    assert len(call("vastsky.listTokens")) == 1


def test_a_token_that_never_was_cannot_be_revoked(call: Api) -> None:
    assert call.fault("vastsky.revokeToken", name="nobody") == ENOENT
