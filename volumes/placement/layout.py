"""How a volume is divided: pure arithmetic."""

LEAST_MIRROR_GB = 10
MOST_MIRRORS = 64
CHUNKS_PER_GB = 1 << 16
"""Copy-on-write chunks of 16 KiB."""
EXCEPTIONS_PER_CHUNK = 1 << 10
"""16 bytes of metadata for each chunk that was copied."""


def mirror_sizes(capacity_gb: int) -> list[int]:
    """Divide a volume into mirrors: few, equal, and exactly as much as was asked for."""
    size_gb = max(LEAST_MIRROR_GB, -(-capacity_gb // MOST_MIRRORS))
    whole, rest_gb = divmod(capacity_gb, size_gb)
    return [size_gb] * whole + [rest_gb] * bool(rest_gb)


def snapshot_store_gb(origin_capacity_gb: int) -> int:
    """Size a copy-on-write store that can hold every chunk of the origin and never overflows."""
    chunks = origin_capacity_gb * CHUNKS_PER_GB
    metadata = -(-chunks // EXCEPTIONS_PER_CHUNK)
    header = 1
    return -(-(header + metadata + chunks) // CHUNKS_PER_GB)
