"""Who may call /RPC2, with what method, and that nothing is read before that is known."""

import re
import xmlrpc.client
from io import BytesIO
from typing import Any

import pytest
from django.test import Client, RequestFactory

from inventory.models import HeadServer
from vastsky_site.api import endpoint

CALL = xmlrpc.client.dumps(({"ver": 5},), "listEvents")

STRANGERS = {
    "another machine": {"REMOTE_ADDR": "10.0.0.7"},
    "another machine, IPv6": {"REMOTE_ADDR": "2001:db8::1"},
    "another machine, mapped": {"REMOTE_ADDR": "::ffff:10.0.0.7"},
    "nobody": {"REMOTE_ADDR": ""},
    "not an address": {"REMOTE_ADDR": "unix:"},
    "a proxy here": {"HTTP_X_FORWARDED_FOR": "10.0.0.7"},
    "a proxy here, standard": {"HTTP_FORWARDED": "for=10.0.0.7"},
    "a proxy here, nginx": {"HTTP_X_REAL_IP": "10.0.0.7"},
    "a proxy here, polite": {"HTTP_VIA": "1.1 somewhere"},
    "a proxy here, shy": {"HTTP_X_FORWARDED_PROTO": "https"},
    "a page in a browser here": {"HTTP_ORIGIN": "https://evil.example"},
    "a page without origin": {"HTTP_ORIGIN": "null"},
    "a page in a modern browser": {"HTTP_SEC_FETCH_SITE": "cross-site"},
}


class Untouchable(BytesIO):
    """A body that nobody may look at."""

    def read(self, *_: Any) -> bytes:
        raise AssertionError("the body was read")

    readline = read


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.0.1.11", "::1", "::ffff:127.0.0.1"])
def test_programs_on_this_machine_may_call(peer: str) -> None:
    response = Client().generic("POST", "/RPC2", CALL, REMOTE_ADDR=peer)

    assert xmlrpc.client.loads(response.content) == (([],), None)


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_gets_401_and_its_body_stays_unread(who: str) -> None:
    request: Any = RequestFactory().generic("POST", "/RPC2", CALL)
    request.META.update(STRANGERS[who])
    request._stream.stream = Untouchable()

    response = endpoint.endpoint(request)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Basic realm="vastsky"'
    assert response["Content-Type"] == "text/xml"


def test_a_strangers_call_has_no_effect(db: None) -> None:
    call = xmlrpc.client.dumps(({"ver": 5, "ip_data": ["10.0.0.1"]},), "registerHeadServer")

    Client().generic("POST", "/RPC2", call, REMOTE_ADDR="10.0.0.7")

    assert not HeadServer.objects.exists()


@pytest.mark.parametrize("verb", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_post_is_a_call(verb: str) -> None:
    response = Client().generic(verb, "/RPC2")

    assert response.status_code == 405
    assert response["Allow"] == "POST"
    assert response["Content-Type"] == "text/xml"


@pytest.mark.parametrize("host", ["a_b..c", "rebound.example", "rebound.example:8881", "[::1", "x"])
def test_the_trusted_loopback_is_not_called_by_a_name_of_somebody_else(host: str) -> None:
    response = Client().generic("POST", "/RPC2", CALL, HTTP_HOST=host)

    assert response.status_code == 401
    assert response["Content-Type"] == "text/xml"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8881", "127.0.2.7", "[::1]:8881"])
def test_the_trusted_loopback_is_called_by_its_names_and_addresses(host: str) -> None:
    response = Client().generic("POST", "/RPC2", CALL, HTTP_HOST=host)

    assert xmlrpc.client.loads(response.content) == (([],), None)


@pytest.mark.parametrize(
    "content_type", ["", "text/xml", "application/xml", "text/plain", "application/json", "ü/x;;="]
)
def test_any_content_type_is_accepted(content_type: str) -> None:
    response = Client().generic("POST", "/RPC2", CALL, content_type=content_type)

    assert xmlrpc.client.loads(response.content) == (([],), None)


def test_the_limit_itself_is_accepted() -> None:
    padding = " " * (endpoint.BODY_BYTES - len(CALL))

    response = Client().generic("POST", "/RPC2", CALL + padding)

    assert xmlrpc.client.loads(response.content) == (([],), None)


@pytest.mark.parametrize("size", [endpoint.BODY_BYTES + 1, 3 * 1024 * 1024])
def test_a_larger_body_is_a_fault_and_not_parsed(size: int) -> None:
    response = Client().generic("POST", "/RPC2", CALL + " " * (size - len(CALL)))

    with pytest.raises(xmlrpc.client.Fault, match=str(endpoint.BODY_BYTES)) as caught:
        xmlrpc.client.loads(response.content)
    assert caught.value.faultCode == 7


@pytest.mark.parametrize("length", ["", "0", "-1", "many"])
def test_a_call_without_a_body_is_a_fault(length: str) -> None:
    response = Client().generic("POST", "/RPC2", CALL, CONTENT_LENGTH=length)

    assert response.status_code == 200
    assert re.search(rb"-32700", response.content)
