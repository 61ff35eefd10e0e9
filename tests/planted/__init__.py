"""Planted faults: patches that break a promise each, and a runner that asks who notices."""
