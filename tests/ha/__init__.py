"""Two managers on one database under load, of which one is killed: `python -m tests.ha`."""
