"""Texts for others' eyes: what is secret in them is masked, whoever wrote it there."""

import os
import re
from collections.abc import Iterator

from django.conf import settings

from agents import join_string
from vastsky_site.access import tokens
from vastsky_site.settings_table import SETTINGS

MASK = "(secret)"
LIKE_A_SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|CREDENTIAL", re.IGNORECASE)
"""Names of variables whose values are secrets, whoever reads them."""
SHORTEST = 6
"""A shorter value is found in many words; its place is masked by the patterns."""
PATTERNS = (
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    re.compile(re.escape(tokens.PREFIX) + r"[A-Za-z0-9_-]{40,}"),
    re.compile(re.escape(join_string.PREFIX) + r"[A-Za-z0-9_-]{40,}"),
    re.compile(r"(?<=://)[^/@\s'\"]*:[^/@\s'\"]+(?=@)"),
    re.compile(r"(?<=[Bb]asic )[A-Za-z0-9+/=]{8,}"),
    re.compile(r"(?<=[Bb]earer )\S{8,}"),
    re.compile(r"(?<=sessionid=)\w+"),
    re.compile(r"(?<=csrftoken=)\w+"),
)
"""Keys, tokens, join strings, URLs with passwords, headers, cookies."""


def mask(text: str) -> str:
    """Write MASK over each secret."""
    for secret in sorted(set(_known()), key=len, reverse=True):
        text = text.replace(secret, MASK)
    for pattern in PATTERNS:
        text = pattern.sub(MASK, text)
    return text


def _known() -> Iterator[str]:
    """Give the secrets that this process knows."""
    ours = {name for one in SETTINGS if one.secret for name in (one.name, one.former) if name}
    found = [str(settings.SECRET_KEY), *map(str, settings.SECRET_KEY_FALLBACKS)]
    found += [str(one.get("PASSWORD") or "") for one in settings.DATABASES.values()]
    found += [
        value for name, value in os.environ.items() if name in ours or LIKE_A_SECRET.search(name)
    ]
    return (one for one in found if len(one) >= SHORTEST)
