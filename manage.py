#!/usr/bin/env python
"""Django's command line for this site."""

import os
import sys

from django.core.management import execute_from_command_line

from agents.version import VERSION

if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        # Django would tell its own.
        sys.stdout.write(f"vastsky-manage {VERSION}\n")
        sys.exit()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vastsky_site.settings")
    execute_from_command_line(sys.argv)
