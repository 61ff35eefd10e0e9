"""What is secret in a text is masked before it leaves its machine, whoever wrote it there."""

import re
from collections.abc import Iterable

from agents.join_string import PREFIX as JOIN_STRING

MASK = "(secret)"
SHORTEST = 6
"""A shorter secret is found in many words; its place is masked by the patterns."""
API_PREFIX = "vastsky_"
"""How the tokens of the API begin."""
PATTERNS = (
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    re.compile(re.escape(API_PREFIX) + r"[A-Za-z0-9_-]{40,}"),
    re.compile(re.escape(JOIN_STRING) + r"[A-Za-z0-9_-]{40,}"),
    re.compile(r"(?<=://)[^/@\s'\"]*:[^/@\s'\"]+(?=@)"),
    re.compile(r"(?<=[Bb]asic )[A-Za-z0-9+/=]{8,}"),
    re.compile(r"(?<=[Bb]earer )\S{8,}"),
    re.compile(r"(?<=sessionid=)\w+"),
    re.compile(r"(?<=csrftoken=)\w+"),
    re.compile(r"(?<=auth\.password = )\S+"),
)
"""Keys, tokens, join strings, URLs with passwords, headers, cookies, passwords of CHAP."""
EXPORT = re.compile(r"(?<=[0-9]-)[0-9a-f]{24}\b")
"""The secret of an epoch, which ends the names of its exports and is its password for CHAP."""


def mask(text: str, known: Iterable[str] = ()) -> str:
    """Write MASK over each secret that is known, and over what looks like one."""
    for secret in sorted({one for one in known if len(one) >= SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    for pattern in (*PATTERNS, EXPORT):
        text = pattern.sub(MASK, text)
    return text
