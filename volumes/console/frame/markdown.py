"""The Markdown that docs/ is written in, as HTML: what we use of it, and all text escaped first."""

import re
from collections.abc import Callable, Iterator

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

Link = Callable[[str], str | None]
"""Where a link leads; None: it is shown as its text."""

CODE = re.compile(r"`([^`]+)`")
IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
BOLD = re.compile(r"\*\*(.+?)\*\*")
EMPHASIS = re.compile(r"(?<![\w*])\*([^*\s](?:[^*]*[^*\s])?)\*(?![\w*])")
HEADING = re.compile(r"(#{1,5}) (.+)")
ITEM = re.compile(r"(\s*)(?:[-*]|(\d+)\.) (.*)")
RULE = re.compile(r"\|[\s:|-]+\|")
CELLS = re.compile(r"(?<!\\)\|")


def html(text: str, link: Link) -> SafeString:
    """Write a document as HTML; its headings have the ids that GitHub gives them."""
    lines = text.replace("\t", "    ").splitlines()
    return mark_safe("\n".join(_Blocks(lines, link).all()))  # noqa: S308  each text is escaped


def anchor(heading: str) -> str:
    """Name a heading as links to it do."""
    words = re.sub(r"[^\w\- ]", "", heading.lower())
    return words.strip().replace(" ", "-")


class _Blocks:
    """The lines of a document, taken block by block."""

    def __init__(self, lines: list[str], link: Link) -> None:
        self.lines = lines
        self.link = link
        self.at = 0

    def all(self) -> Iterator[str]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip():
                self.at += 1
            elif line.startswith("```"):
                yield self._fenced()
            elif line.startswith("    "):
                yield self._indented()
            elif found := HEADING.fullmatch(line):
                self.at += 1
                yield self._heading(len(found[1]), found[2])
            elif line.startswith("|"):
                yield self._table()
            elif ITEM.fullmatch(line):
                yield self._list()
            else:
                yield f"<p>{self._inline(' '.join(self._run()))}</p>"

    def _run(self) -> Iterator[str]:
        """Take the lines of a paragraph."""
        while self.at < len(self.lines) and self.lines[self.at].strip():
            if self._begins_something(self.lines[self.at]):
                break
            yield self.lines[self.at].strip()
            self.at += 1

    def _begins_something(self, line: str) -> bool:
        return line.startswith(("```", "|")) or bool(HEADING.fullmatch(line) or ITEM.match(line))

    def _heading(self, depth: int, text: str) -> str:
        # The page has its own title: a document's headings begin below it.
        tag = f"h{min(depth + 1, 6)}"
        return f'<{tag} id="{escape(anchor(text))}">{self._inline(text)}</{tag}>'

    def _fenced(self) -> str:
        self.at += 1
        begin = self.at
        while self.at < len(self.lines) and not self.lines[self.at].startswith("```"):
            self.at += 1
        self.at += 1
        return _pre(self.lines[begin : self.at - 1])

    def _indented(self) -> str:
        begin = self.at
        while self.at < len(self.lines) and (
            self.lines[self.at].startswith("    ") or not self.lines[self.at].strip()
        ):
            self.at += 1
        return _pre([line[4:] for line in self.lines[begin : self.at]])

    def _table(self) -> str:
        rows = []
        while self.at < len(self.lines) and self.lines[self.at].startswith("|"):
            rows.append(self.lines[self.at])
            self.at += 1
        head = self._row("th", rows[0]) if len(rows) > 1 and RULE.fullmatch(rows[1]) else ""
        body = "".join(self._row("td", row) for row in (rows[2:] if head else rows))
        return (
            '<div class="vs-scroll" tabindex="0" role="region" aria-label="Table">'
            f'<table class="vs-table"><thead>{head}</thead><tbody>{body}</tbody></table></div>'
        )

    def _row(self, tag: str, line: str) -> str:
        cells = [cell.replace("\\|", "|").strip() for cell in CELLS.split(line.strip())[1:-1]]
        scope = ' scope="col"' if tag == "th" else ""
        return "<tr>" + "".join(f"<{tag}{scope}>{self._inline(c)}</{tag}>" for c in cells) + "</tr>"

    def _list(self) -> str:
        first = ITEM.fullmatch(self.lines[self.at])
        tag = "ol" if first and first[2] else "ul"
        items: list[list[str]] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            found = ITEM.fullmatch(line)
            if found and not found[1]:
                items.append([found[3]])
            elif line.startswith("  ") and items:
                items[-1].append(line.strip())
            else:
                break
            self.at += 1
        return (
            f"<{tag}>"
            + "".join(f"<li>{self._inline(' '.join(i))}</li>" for i in items)
            + f"</{tag}>"
        )

    def _inline(self, text: str) -> str:
        """Write a stretch of text; what is code in it is nothing else."""
        parts = CODE.split(IMAGE.sub("", text))
        kept = [
            f"<code>{escape(part)}</code>" if place % 2 else escape(part)
            for place, part in enumerate(parts)
        ]
        # A link's text may have code in it, so links are found in the whole.
        found = LINK.sub(self._anchor, "".join(kept))
        return EMPHASIS.sub(r"<em>\1</em>", BOLD.sub(r"<strong>\1</strong>", found))

    def _anchor(self, found: re.Match[str]) -> str:
        url = self.link(found[2])
        return f'<a href="{escape(url)}">{found[1]}</a>' if url else found[1]


def _pre(lines: list[str]) -> str:
    text = "\n".join(lines).rstrip("\n")
    return f'<pre class="vs-code" tabindex="0">{escape(text)}</pre>'
