"""The embedded engine: mirrored volumes over standard NBD, in pure Python, without root."""
