"""The manual: docs/ of this release, to be read in the console."""

import re
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from volumes.console.frame import markdown
from volumes.console.frame.page import page, viewing

NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")


@viewing
def index(request: HttpRequest) -> HttpResponse:
    """List the chapters."""
    return page(request, "console/manual_index.html", "Manual", chapters=list(_chapters()))


@viewing
def show(request: HttpRequest, name: str) -> HttpResponse:
    """Show a chapter."""
    file = folder() / f"{name}.md"
    if not NAME.fullmatch(name) or not file.is_file():
        raise Http404
    first, _, rest = file.read_text().partition("\n")
    title = first.removeprefix("# ")
    return page(request, "console/manual.html", title, text=markdown.html(rest, _link), name=name)


def folder() -> Path:
    """Say where the chapters are."""
    return Path(settings.BASE_DIR) / "docs"


def _chapters() -> Iterator[tuple[str, str, str]]:
    """Give each chapter's name, title, and what it is about: its first paragraph."""
    for file in sorted(folder().glob("*.md")):
        title, _, rest = file.read_text().partition("\n")
        about = rest.strip().partition("\n\n")[0]
        if about.startswith(("#", "|", "    ")):
            about = ""
        yield file.stem, title.removeprefix("# "), markdown.html(about, lambda _: None)


def _link(url: str) -> str | None:
    """Lead from one chapter to another, or out; what is not in the manual is no link."""
    if url.startswith(("https://", "http://", "#")):
        return url
    name, _, anchor = url.partition("#")
    stem = name.removesuffix(".md")
    if not name.endswith(".md") or not NAME.fullmatch(stem) or not (folder() / name).is_file():
        return None
    return reverse("console:manual", args=[stem]) + (f"#{anchor}" if anchor else "")
