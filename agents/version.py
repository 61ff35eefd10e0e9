"""Which release this is: what the manager and the agents tell of themselves and each other."""

VERSION = "5.1.0.dev0"
