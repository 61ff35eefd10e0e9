"""A node's key and its certificate requests, by the openssl command.

Python's standard library makes no requests, and a node has nothing beyond it.
"""

import errno
import os
import subprocess
from pathlib import Path

from agents.errors import AgentError


def make_key(path: Path) -> None:
    """Make the key, for this user's eyes only, unless it is there: a repeated join has the same."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", draft)
    draft.chmod(0o600)
    draft.replace(path)


def request(key: Path) -> str:
    """Make a certificate request; the manager decides what the certificate says."""
    return _openssl("req", "-new", "-key", key, "-subj", "/CN=node")


def _openssl(*words: str | Path) -> str:
    try:
        done = subprocess.run(
            ["/usr/bin/openssl", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise AgentError(errno.ENOENT, "the command openssl is missing: install it") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason told"])[0]
        raise AgentError(errno.EIO, f"openssl {words[0]}: {reason}")
    return done.stdout
