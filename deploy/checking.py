"""`make check`: what can be said about the code without running it; silent about what is well."""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
MANAGE = [str(BIN / "python"), "manage.py"]
PRODUCTION = {
    "VASTSKY_PRODUCTION": "1",
    "VASTSKY_SECRET_KEY": "checked-as-if-in-production-0123456789-abcdefghijklmnopqrstuvwxyz",
    "VASTSKY_ALLOWED_HOSTS": "vastsky.example",
    "DATABASE_URL": "postgres://vastsky:secret@database.example/vastsky",
    "REDIS_URL": "rediss://broker.example:6379/0",
}

CHECKS: dict[str, list[str]] = {
    "mypy": [str(BIN / "mypy"), "--explicit-package-bases", "."],
    "ruff": [str(BIN / "ruff"), "check", "--quiet"],
    "format": [str(BIN / "ruff"), "format", "--check", "--quiet"],
    "imports": [str(BIN / "lint-imports")],
    "templates": [str(BIN / "djlint"), "--check", "--lint", "--quiet", "templates"],
    "migrations": [*MANAGE, "makemigrations", "--check", "--dry-run"],
    "settings": [*MANAGE, "check", "--fail-level", "WARNING"],
    "production": [*MANAGE, "check", "--deploy", "--tag", "security", "--fail-level", "WARNING"],
    "collection": [str(BIN / "python"), "-m", "pytest", "--collect-only", "--quiet"],
}


def main() -> int:
    """Run all checks, two at a time; the output of those that complain."""
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda name: _run(name, home), _applicable())
        return max([_tell(*result) for result in results])


def _applicable() -> list[str]:
    """Leave out the templates' check while there is none: djlint calls that a failure."""
    has_templates = any((ROOT / "templates").rglob("*.html"))
    return [name for name in CHECKS if name != "templates" or has_templates]


def _run(name: str, home: str) -> tuple[str, float, subprocess.CompletedProcess[str]]:
    began = time.monotonic()
    environment = {**os.environ, "VASTSKY_HOME": home}
    done = subprocess.run(
        CHECKS[name],
        cwd=ROOT,
        env=environment | PRODUCTION if name == "production" else environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return name, time.monotonic() - began, done


def _tell(name: str, seconds: float, done: subprocess.CompletedProcess[str]) -> int:
    print(f"{'FAILED' if done.returncode else 'ok':6} {name} ({seconds:.1f} s)", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr, flush=True)
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
