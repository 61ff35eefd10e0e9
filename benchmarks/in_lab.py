"""Benchmarks that run in a lab of virtual machines: each is a test file of its own."""

import os
import subprocess
import sys


def run(file: str, **environment: str) -> None:
    """Start a lab, measure in it by this file, and exit as it does."""
    words = f"-q -s -p no:randomly -p tests.lab.conftest {file}"
    lab = [sys.executable, "-m", "tests.lab", "start", f"--tests={words}"]
    sys.exit(subprocess.run(lab, check=False, env={**os.environ, **environment}).returncode)
