"""Which release the commands are of; they are installed without the rest of the checkout."""

VERSION = "5.1.0.dev0"
