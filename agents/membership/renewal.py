"""A node renews its certificate: the same key, certified anew, before the last one ends."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agents.certificate_end import end_of
from agents.membership import manager_door, node_key
from agents.membership.manager_door import in_turn
from agents.membership.node_files import PUBLIC, NodeFiles

BEFORE = timedelta(days=60)
"""Long before the manager calls it a problem (volumes.reports.problems.hardware_problems)."""


def is_due(certificate: Path) -> bool:
    """Tell whether the certificate ends soon."""
    return end_of(certificate) - datetime.now(UTC) < BEFORE


def renew(urls: Sequence[str], files: NodeFiles, token_name: str) -> datetime:
    """Renew it now; until when it is valid then."""
    authority, token = files.authority.read_text(), files.token.read_text().strip()
    content = {"request": node_key.request(files.key)}
    answer = in_turn(
        urls,
        lambda url: manager_door.post(url, "/join/renew", authority, content, (token_name, token)),
    )
    files.write(files.certificate, manager_door.text(answer, "certificate"), PUBLIC)
    return end_of(files.certificate)
