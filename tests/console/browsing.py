"""A person in front of Debian's Chromium, and what the browser notices meanwhile."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)
Scheme = Literal["light", "dark"]
needs_chromium = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="Debian's chromium is not installed"
)


class Person:
    """Somebody who is signed in."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url.rstrip("/")
        self.noticed: list[str] = []
        page.on("pageerror", lambda error: self.noticed.append(str(error)))
        page.on("request", lambda request: self._look(request.url))
        page.on("response", lambda answer: self._judge(answer.status, answer.url))

    def _look(self, url: str) -> None:
        if not url.startswith((self.url, "data:")):
            self.noticed.append(f"asked elsewhere: {url}")

    def _judge(self, status: int, url: str) -> None:
        if status >= 400:
            self.noticed.append(f"{status} {url}")

    def go(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser. Its event loop in this thread makes Django think itself asynchronous."""
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield launched
        launched.close()


@contextmanager
def signed_in(
    browser: Browser,
    url: str,
    who: tuple[str, str],
    size: ViewportSize = DESK,
    scheme: Scheme = "light",
) -> Iterator[Person]:
    """Sign in; at the end, no error and no request to another host was noticed."""
    context = browser.new_context(viewport=size, color_scheme=scheme)
    person = Person(context.new_page(), url)
    page = person.go("/admin/login/")
    page.fill("[name=username]", who[0])
    page.fill("[name=password]", who[1])
    page.keyboard.press("Enter")
    expect(page).to_have_title(re.compile(r"^(\(\d+\) )?Overview \| VastSky$"))
    yield person
    context.close()
    assert person.noticed == [], person.noticed


def expect_verdict(page: Page, text: str, within: float = 20_000) -> None:
    """See what the overview says of all data; a failure tells what it said instead, and why."""
    expect(page.get_by_role("region", name="Verdict")).to_contain_text(text, timeout=within)


def after_a_poll(page: Page, part: str) -> None:
    """Wait until a part of the page was asked for anew, and is in its place."""
    with page.expect_response(f"**{part}", timeout=20_000):
        pass
    page.wait_for_function("document.querySelector('.htmx-request, .htmx-settling') === null")


def serious(page: Page) -> list[str]:
    """Name what axe-core finds serious or worse."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {[node['html'][:200] for node in rule['nodes']][:3]}"
        for rule in found
        if rule["impact"] in {"serious", "critical"}
    ]
