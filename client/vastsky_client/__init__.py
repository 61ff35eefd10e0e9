"""The operators' commands: a client of /RPC2 that needs nothing but Python."""
