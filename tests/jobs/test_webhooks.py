"""Events are sent to receivers: signed, in order, by one manager, again until they are taken."""

import base64
import hashlib
import hmac
import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import pytest
from django.core.management import call_command
from django.db.models import F
from pytest_django import Settings

from inventory import events, webhooks
from inventory.audit import Action
from inventory.models import AuditEntry, EventEntry, Webhook
from inventory.write_lock import write_lock
from tests.conftest import Race
from tests.contract.api import Api
from vastsky_site.access import certificates
from volumes.reports import problems
from volumes.webhooks import post
from volumes.webhooks.delivery import Sender

pytestmark = pytest.mark.django_db(transaction=True)

EHOSTDOWN, EINVAL, ENOENT, EEXIST = 112, 22, 2, 17
Kind, Severity = EventEntry.Kind, EventEntry.Severity


class Receiver:
    """A program elsewhere that takes what it is sent, or answers as it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.held = threading.Event()
        self.held.set()
        self.came = threading.Semaphore(0)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                receiver.came.release()
                receiver.held.wait(10)
                self.send_response(receiver.status)
                self.send_header("location", f"{receiver.url}/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def told(self) -> list[dict[str, Any]]:
        return [event for _, body in self.got for event in json.loads(body)["events"]]

    def names(self) -> list[str]:
        return [event["name"] for event in self.told()]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.held.set()
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture(autouse=True)
def events_settle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "SETTLED", 0.0)


def happen(
    *names: str, kind: EventEntry.Kind = Kind.CHANGED, severity: EventEntry.Severity = Severity.INFO
) -> None:
    with write_lock():
        for name in names:
            events.tell(kind, severity, name)


def send() -> None:
    """Let a manager look once, and wait until what it began is over."""
    one = Sender()
    one.look()
    one._threads.shutdown()


def rest_is_over() -> None:
    Webhook.objects.update(due=F("due") - timedelta(minutes=30))


def hook() -> Webhook:
    return Webhook.objects.get()


# -- what is sent ---------------------------------------------------------------------------------


def test_what_happens_is_sent_in_order_and_signed(call: Api, receiver: Receiver) -> None:
    happen("before")
    secret = call("vastsky.addWebhook", name="pager", url=receiver.url)
    happen("first", "second")
    send()

    ((headers, body),) = receiver.got
    assert receiver.names() == ["first", "second"]
    assert receiver.told() == call("vastsky.listEvents", limit=2)["events"][::-1]
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-signature"] == (
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    )
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 30
    assert call("vastsky.listWebhooks")[0]["sent"]


def test_a_receiver_hears_of_what_it_asked_for_alone(call: Api, receiver: Receiver) -> None:
    kinds = ["degraded", "healed"]
    call("vastsky.addWebhook", name="x", url=receiver.url, severity="warning", kinds=kinds)
    happen("too small", kind=Kind.HEALED)
    happen("another kind", severity=Severity.ERROR)
    happen("wanted", kind=Kind.DEGRADED, severity=Severity.ERROR)
    send()

    assert receiver.names() == ["wanted"]


def test_what_nobody_wants_to_hear_is_behind_a_hook_without_a_message(
    call: Api, receiver: Receiver
) -> None:
    call("vastsky.addWebhook", name="pager", url=receiver.url, severity="error")
    happen("small", "smaller")
    send()

    assert receiver.got == []
    assert hook().cursor == EventEntry.objects.latest("pk").pk


def test_more_than_a_message_holds_is_sent_in_several(
    call: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "BATCH", 2)
    call("vastsky.addWebhook", name="pager", url=receiver.url)
    happen("1", "2", "3", "4", "5")
    for _ in range(3):
        send()

    assert receiver.names() == ["1", "2", "3", "4", "5"]
    assert len(receiver.got) == 3


def test_nothing_is_sent_before_all_that_came_earlier_is_there(
    call: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "SETTLED", 60.0)
    call("vastsky.addWebhook", name="pager", url=receiver.url)
    happen("young")
    send()
    assert receiver.got == []

    monkeypatch.setattr(webhooks, "SETTLED", 0.0)
    send()
    assert receiver.names() == ["young"]


# -- what is not taken ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [302, 400, 500])
def test_what_is_not_taken_is_sent_again_after_a_rest(
    call: Api, receiver: Receiver, status: int
) -> None:
    call("vastsky.addWebhook", name="pager", url=receiver.url)
    happen("news")
    receiver.status = status
    send()
    send()  # it rests

    assert len(receiver.got) == 1
    (told,) = call("vastsky.listWebhooks")
    assert (told["failures"], told["error"]) == (1, f"it answers HTTP {status}")
    receiver.status = 200
    rest_is_over()
    send()
    assert receiver.names() == ["news", "news"]
    first, again = (headers["webhook-id"] for headers, _ in receiver.got)
    assert first == again
    assert call("vastsky.listWebhooks")[0]["failures"] == 0


def test_pauses_double_up_to_ten_minutes() -> None:
    pauses = [webhooks.pause_after(failures).total_seconds() for failures in (1, 2, 3, 8, 9999)]

    assert pauses == [5, 10, 20, 600, 600]


def hangs(connection: socket.socket) -> None:
    connection.recv(1)
    time.sleep(2)


def drips(connection: socket.socket) -> None:
    for _ in range(20):
        connection.sendall(b"HTTP/1.1 200 OK\r\nx: "[:1])
        time.sleep(0.1)


def speaks_no_http(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n\r\n")
    connection.recv(1 << 16)


@pytest.mark.parametrize("behave", [hangs, drips, speaks_no_http])
def test_a_receiver_that_misbehaves_is_left_in_time(
    call: Api, monkeypatch: pytest.MonkeyPatch, behave: Callable[[socket.socket], None]
) -> None:
    monkeypatch.setattr(post, "SECONDS", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                behave(connection)

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        call("vastsky.addWebhook", name="pager", url=url)
        happen("news")
        began = time.monotonic()
        send()

    assert time.monotonic() - began < 1.5
    assert hook().failures == 1
    assert hook().error


def test_a_receiver_that_hangs_holds_up_no_other(call: Api, receiver: Receiver) -> None:
    dead = Receiver()
    dead.held.clear()
    call("vastsky.addWebhook", name="dead", url=dead.url)
    call("vastsky.addWebhook", name="good", url=receiver.url)
    happen("news")
    sender = Sender()
    sender.look()

    assert receiver.came.acquire(timeout=5)
    dead.held.set()
    sender._threads.shutdown()
    dead.server.shutdown()
    dead.server.server_close()


def test_a_dead_receiver_is_a_problem_until_it_takes_something(
    call: Api, receiver: Receiver
) -> None:
    call("vastsky.addWebhook", name="pager", url=receiver.url)
    happen("news")
    receiver.status = 503
    send()
    assert not problems.is_anything_wrong()

    Webhook.objects.update(failing_since=F("failing_since") - timedelta(minutes=2))
    assert problems.is_anything_wrong()
    assert "Webhook pager takes no events" in [problem.title for problem in problems.find()]

    receiver.status = 200
    rest_is_over()
    send()
    assert not problems.is_anything_wrong()


# -- two managers ---------------------------------------------------------------------------------


def test_two_managers_send_once(call: Api, receiver: Receiver, race: Race) -> None:
    call("vastsky.addWebhook", name="pager", url=receiver.url)
    happen("news")
    race(send, send)
    send()

    assert receiver.names() == ["news"]


def test_what_a_dead_manager_had_begun_another_one_sends(call: Api, receiver: Receiver) -> None:
    call("vastsky.addWebhook", name="pager", url=receiver.url)
    happen("news")
    begun = hook()
    assert webhooks.claim(begun)
    send()
    assert receiver.got == []

    Webhook.objects.update(due=F("due") - webhooks.LEASE)
    send()
    assert receiver.names() == ["news"]
    happen("more")
    assert not webhooks.note_taken(begun, begun.cursor + 2)  # it was not dead after all
    send()
    assert receiver.names() == ["news", "more"]


# -- who is told, and by whom that is decided -----------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["ftp://a.example/", "https:///x", "//a.example", "http://u:p@a.example/", "http://a.example:x",
     "http://a.example/ x", "http://ä.example/", "https://a.example/#top", "file:///etc/passwd"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(call: Api, url: str) -> None:
    assert call.fault("vastsky.addWebhook", name="pager", url=url) == EINVAL


def test_a_webhook_has_a_name_and_known_kinds(call: Api, receiver: Receiver) -> None:
    call("vastsky.addWebhook", name="pager", url=receiver.url)

    again = {"name": "pager", "url": receiver.url}
    assert call.fault("vastsky.addWebhook", **again) == EEXIST
    assert call.fault("vastsky.addWebhook", **{**again, "name": "a b"}) == EINVAL
    assert call.fault("vastsky.addWebhook", **again, kinds=["nonsense"]) == EINVAL
    assert call.fault("vastsky.addWebhook", **again, severity="fatal") == EINVAL


def test_a_receiver_can_be_tried_at_once(call: Api, receiver: Receiver) -> None:
    call("vastsky.addWebhook", name="pager", url=receiver.url, severity="error")
    call("vastsky.testWebhook", name="pager")
    assert json.loads(receiver.got[0][1]) | {"cluster": "", "incarnation": 0} == {
        "cluster": "", "incarnation": 0, "webhook": "pager", "test": True, "events": [],
    }  # fmt: skip

    receiver.status = 404
    with pytest.raises(Fault, match=r"webhook pager to .*: it answers HTTP 404") as refused:
        call("vastsky.testWebhook", name="pager")
    assert refused.value.faultCode == EHOSTDOWN


def test_webhooks_are_added_and_removed_at_a_shell_and_written_down(receiver: Receiver) -> None:
    said = StringIO()
    add = ("add", "pager", receiver.url, "--severity", "warning", "--kind", "degraded")
    call_command("webhook", *add, stdout=said)
    call_command("webhook", "list", stdout=said)
    call_command("webhook", "test", "pager", stdout=said)
    call_command("webhook", "remove", "pager", stdout=said)

    secret, listed, taken = said.getvalue().splitlines()
    assert secret.startswith("whsec_")
    assert listed.split() == ["pager", "warning", receiver.url, "never", "sent"]
    assert taken == "taken"
    assert not Webhook.objects.exists()
    verbs = AuditEntry.objects.order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == [Action.ADD_WEBHOOK, Action.REMOVE_WEBHOOK]


def test_a_removed_webhook_is_sent_nothing(call: Api, receiver: Receiver) -> None:
    call("vastsky.addWebhook", name="pager", url=receiver.url)
    happen("news")
    call("vastsky.removeWebhook", name="pager")
    send()

    assert receiver.got == []
    assert call.fault("vastsky.removeWebhook", name="pager") == ENOENT


def test_a_receiver_proves_over_tls_who_it_is(
    call: Api, receiver: Receiver, settings: Settings, tmp_path: Path
) -> None:
    certificates.issue(tmp_path, "pager", ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pager.pem", tmp_path / "pager.key")
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    call("vastsky.addWebhook", name="pager", url=receiver.url.replace("http:", "https:"))

    with pytest.raises(Fault, match="no TLS that both accept"):
        call("vastsky.testWebhook", name="pager")
    settings.VASTSKY_WEBHOOK_AUTHORITY = str(tmp_path / "authority.pem")
    call("vastsky.testWebhook", name="pager")
    assert len(receiver.got) == 1
