"""Which networks addresses are in, by the kernel's table of routes."""

from pathlib import Path

import pytest

from agents.membership.routes import networks_of

ROUTES = """\
Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
a 00000000 010A000A 0003 0 0 0 00000000 0 0 0
a 0000010A 00000000 0001 0 0 0 0080FFFF 0 0 0
b 0080010A 00000000 0001 0 0 0 0080FFFF 0 0 0
b 0000100A 00000000 0001 0 0 0 0000FEFF 0 0 0
"""


@pytest.mark.parametrize(
    ("addresses", "networks"),
    [
        (("10.1.5.1", "10.1.5.2"), {"10.1.0.0/17"}),
        (("10.1.5.1", "10.1.6.1"), {"10.1.0.0/17"}),
        (("10.1.5.1", "10.1.200.1"), {"10.1.0.0/17", "10.1.128.0/17"}),
        (("10.16.0.1", "10.17.0.1"), {"10.16.0.0/15"}),
        (("192.0.2.1", "192.0.2.2"), {"192.0.2.1/32", "192.0.2.2/32"}),
    ],
)
def test_addresses_are_in_one_network_where_the_kernel_says_so(
    tmp_path: Path, addresses: tuple[str, ...], networks: set[str]
) -> None:
    (tmp_path / "route").write_text(ROUTES)

    assert {str(one) for one in networks_of(addresses, tmp_path / "route")} == networks
