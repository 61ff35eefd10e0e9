"""Debian packages of what runs on nodes."""
