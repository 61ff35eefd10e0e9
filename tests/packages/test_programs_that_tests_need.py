"""No test is skipped for want of a program that `make test` could have installed."""

import re
from pathlib import Path

from deploy.testing import WISHES

TESTS = Path(__file__).parents[1]
PROGRAM = re.compile(r"""which\("([a-z-]+)"\)""")
NOT_WISHED = {"dpkg-deb", "iscsiadm"}
"""Every Debian has the one; with the other and without it the test expects something."""


def test_programs_without_which_tests_are_skipped_are_installed() -> None:
    files = {path: set(PROGRAM.findall(path.read_text())) for path in TESTS.rglob("*.py")}
    asked = set().union(*files.values())

    assert {"promtool", "openssl", "gcc"} <= asked
    missing = asked - set(WISHES.values()) - NOT_WISHED
    assert not missing, {path.name: found & missing for path, found in files.items()}
