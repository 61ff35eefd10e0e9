"""The Markdown of docs/ as HTML: markdown-it's, with ids, links and frames of our own."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.token import Token

Link = Callable[[str], str | None]
"""Where a link leads; None: it is shown as its text."""

FRAME = '<div class="vs-scroll" tabindex="0" role="region" aria-label="Table">'


def html(text: str, link: Link) -> SafeString:
    """Write a document as HTML; its headings have the ids that GitHub gives them.

    HTML in it is shown as text, images are left out.
    """
    tokens = READER.parse(text)
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(tokens[place + 1].content))
        if token.type in {"heading_open", "heading_close"}:
            # The page has its own title: a document's headings begin below it.
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        elif token.type == "table_open":
            token.attrSet("class", "vs-table")
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.children:
            token.children = list(_inside(token.children, link))
    written = str(READER.renderer.render(tokens, READER.options, {}))
    return SafeString(written)  # the renderer escapes all text


def anchor(heading: str) -> str:
    """Name a heading as links to it do."""
    words = re.sub(r"[^\w\- ]", "", heading.lower())
    return words.strip().replace(" ", "-")


def _inside(tokens: list[Token], link: Link) -> Iterator[Token]:
    """Have links lead where we say, and leave out those that lead nowhere."""
    is_link = False
    for token in tokens:
        if token.type == "link_open":
            url = link(str(token.attrGet("href")))
            is_link = url is not None
            token.attrSet("href", url or "")
        if token.type != "image" and (is_link or token.type not in {"link_open", "link_close"}):
            yield token


def _begin_table(self: Any, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
    return FRAME + str(self.renderToken(tokens, place, options, env))


def _end_table(self: Any, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
    return f"{self.renderToken(tokens, place, options, env)}</div>"


def _lines(_self: Any, tokens: Sequence[Token], place: int, _options: Any, _env: Any) -> str:
    text = tokens[place].content.rstrip("\n")
    return f'<pre class="vs-code" tabindex="0">{escape(text)}</pre>'


READER = MarkdownIt("commonmark", {"html": False}).enable("table")
for _kind, _rule in {
    "table_open": _begin_table,
    "table_close": _end_table,
    "fence": _lines,
    "code_block": _lines,
}.items():
    READER.add_render_rule(_kind, _rule)
