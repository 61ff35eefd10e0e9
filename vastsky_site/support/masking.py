"""Texts for others' eyes: what is secret in them is masked, whoever wrote it there."""

import os
import re
from collections.abc import Iterator

from django.conf import settings

from agents import masking
from agents.masking import MASK
from vastsky_site.settings_table import SETTINGS

__all__ = ["MASK", "mask"]

LIKE_A_SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|CREDENTIAL", re.IGNORECASE)
"""Names of variables whose values are secrets, whoever reads them."""


def mask(text: str) -> str:
    """Write MASK over each secret, known here or by its looks."""
    return masking.mask(text, _known())


def _known() -> Iterator[str]:
    """Give the secrets that this process knows."""
    ours = {name for one in SETTINGS if one.secret for name in (one.name, one.former) if name}
    found = [str(settings.SECRET_KEY), *map(str, settings.SECRET_KEY_FALLBACKS)]
    found += [str(one.get("PASSWORD") or "") for one in settings.DATABASES.values()]
    found += [
        value for name, value in os.environ.items() if name in ours or LIKE_A_SECRET.search(name)
    ]
    return iter(found)
