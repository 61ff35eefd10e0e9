"""Block devices of the kernel (/dev/nbdN) in front of the sockets of an engine's volumes."""
