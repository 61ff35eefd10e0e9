"""An address that leads nowhere, or is not for everybody, says so and shows a way out."""

from django.test import Client

from tests.console.conftest import SignIn

WAY_OUT = 'href="/admin/"'


def test_what_is_not_there_is_said_with_a_way_out(console: Client) -> None:
    answer = console.get("/admin/console/nowhere/")

    assert answer.status_code == 404
    page = answer.content.decode()
    assert "There is nothing at this address" in page
    assert WAY_OUT in page
    assert "<main>" in page


def test_what_is_not_allowed_is_said_with_a_way_out(well: None, sign_in: SignIn) -> None:
    answer = sign_in("viewer").get("/admin/console/do/fail-storage/?on=1")

    assert answer.status_code == 403
    page = answer.content.decode()
    assert "You may not do this" in page
    assert WAY_OUT in page


def test_a_form_that_is_too_old_says_that_nothing_was_done(sign_in: SignIn) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies = sign_in("admin").cookies

    answer = client.post("/admin/console/do/scrub-volume/", {"on": 1})

    assert answer.status_code == 403
    assert "Nothing was done" in answer.content.decode()


def test_a_request_for_another_host_is_refused_with_a_page(db: None) -> None:
    answer = Client(headers={"host": "evil.example"}).get("/admin/")

    assert answer.status_code == 400
    assert "This request cannot be read" in answer.content.decode()
