"""A manager's address, as people write it: with or without /RPC2, perhaps with a name and token."""

from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

DEFAULT_URL = "http://127.0.0.1:8881/RPC2"


def parse(url: str) -> SplitResult | None:
    """Read an address, which may do without /RPC2; None if it is none."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            return None
    except ValueError:
        return None
    return parts._replace(path=parts.path.rstrip("/") or "/RPC2")


def shown(address: SplitResult) -> str:
    """Leave a token in the address out of every message."""
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def credentials(address: SplitResult) -> bytes:
    """Tell the name and token that it holds; b"" if it holds none."""
    return unquote_to_bytes(address.netloc.rpartition("@")[0])
