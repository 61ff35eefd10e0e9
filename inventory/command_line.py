"""How commands of the manager are typed on this machine, for whoever is told to type one."""

import os

COMMAND = "VASTSKY_COMMAND"
"""What the package's command and units say of themselves; a checkout has `manage.py`."""


def manage(words: str) -> str:
    """Say a command of the manager's as it is typed here."""
    return f"{os.environ.get(COMMAND) or 'manage.py'} {words}"
