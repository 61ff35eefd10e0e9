"""Each page says in a sentence what it is for, and leads into the manual of this release."""

import re
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import resolve

from tests.console.conftest import SignIn
from vastsky_site.pages.theme import UNFOLD
from volumes.console.frame import markdown, page_help
from volumes.console.pages import manual

pytestmark = pytest.mark.django_db


def sidebar() -> Iterator[str]:
    for group in UNFOLD["SIDEBAR"]["navigation"]:
        for item in group["items"]:
            yield str(item["link"])


def test_every_page_of_the_sidebar_says_what_it_is_for(console: Client, well: None) -> None:
    for address in sidebar():
        page = console.get(address).content.decode()
        told = page_help.of_view(resolve(address).view_name)

        assert told, address
        assert "Help on this page" in page, address


@pytest.mark.parametrize("name", page_help.PAGES)
def test_help_leads_to_a_heading_that_is_there(name: str) -> None:
    told = page_help.PAGES[name]
    chapter = (manual.folder() / f"{told.chapter}.md").read_text()

    anchors = {markdown.anchor(line.lstrip("# ")) for line in chapter.splitlines() if "# " in line}
    assert not told.heading or told.heading in anchors


def test_the_page_of_a_row_has_the_help_of_its_list(console: Client, well: None) -> None:
    page = console.get("/admin/volumes/logicalvolume/1/change/").content.decode()

    assert page_help.VOLUMES.text in page


def test_every_chapter_can_be_read(console: Client) -> None:
    index = console.get("/admin/console/manual/").content.decode()

    for file in manual.folder().glob("*.md"):
        address = f"/admin/console/manual/{file.stem}/"
        assert address in index
        page = console.get(address).content.decode()
        text = page[page.index("<article") : page.index("</article>")]
        assert not re.search(
            r"\]\(|^#|\*\*\w", re.sub("<pre.*?</pre>|<code.*?</code>", "", text, flags=re.DOTALL)
        )


def test_the_glossary_has_each_word(console: Client) -> None:
    page = console.get("/admin/console/manual/glossary/").content.decode()

    assert "<td>replica</td>" in page
    assert '<a href="/admin/console/manual/join/">join</a>' in page


@pytest.mark.parametrize("name", ["nothing", "..%2FCHANGELOG", "Glossary"])
def test_what_is_no_chapter_is_not_found(console: Client, name: str) -> None:
    assert console.get(f"/admin/console/manual/{name}/").status_code == 404


def test_text_of_a_document_is_no_markup() -> None:
    told = markdown.html(
        "a <b> & [x](javascript:alert(1)) [y](z.md) `<i>`\n\n| a | b |\n| - | - |\n| <u> | c |",
        lambda _: None,
    )

    assert "<p>a &lt;b&gt; &amp; [x](javascript:alert(1)) y " in told
    assert "href" not in told
    assert "<code>&lt;i&gt;</code>" in told
    assert "<td>&lt;u&gt;</td>" in told


def test_who_has_no_role_reads_no_manual(sign_in: SignIn) -> None:
    assert sign_in("").get("/admin/console/manual/").status_code == 403
