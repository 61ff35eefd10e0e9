"""A server's addresses as they are shown, each with whether it answers."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

from inventory import clock
from inventory.models import Address
from volumes.console.frame.formats import age
from volumes.console.frame.pills import WARN, Pill
from volumes.reports.networks import NAMES

COLUMNS = ("address", "position", "silent_since", "silence")


@dataclass(frozen=True, slots=True)
class ShownAddress:
    """One address; one that is not silent answered when its server last did."""

    address: str
    position: int
    silent_since: datetime | None
    silence: str

    @property
    def network(self) -> str:
        """Name its network."""
        return f"Network {NAMES[self.position]}"

    @property
    def is_silent(self) -> bool:
        """Tell whether it has been silent for longer than a moment."""
        limit = clock.now() - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS)
        return self.silent_since is not None and self.silent_since < limit

    def __html__(self) -> SafeString:
        """Write the address, marked if it is silent, and since when."""
        if self.silent_since is None or not self.is_silent:
            return format_html('<span class="vs-mono">{}</span>', self.address)
        began = clock.on_the_wall(self.silent_since)
        since = f"{began:%Y-%m-%d %H:%M:%S} UTC"
        title = f"no answer on {self.network} since {since}: {self.silence}"
        pill = Pill(f"silent {age(began)}", WARN, title)
        return format_html(
            '<span class="vs-nowrap"><span class="vs-mono">{}</span> {}</span>', self.address, pill
        )

    def __str__(self) -> str:
        return self.__html__()


def of(address: Address) -> ShownAddress:
    """Show an address."""
    return ShownAddress(address.address, address.position, address.silent_since, address.silence)


def of_servers(kind: str) -> dict[int, list[ShownAddress]]:
    """Read the addresses of all "head" or "storage" servers, in the order of their networks."""
    rows = Address.objects.exclude(**{kind: None}).order_by("position")
    found: dict[int, list[ShownAddress]] = defaultdict(list)
    for server, *door in rows.values_list(kind, *COLUMNS):
        found[server].append(ShownAddress(*door))
    return found
