"""Generic netlink byte by byte, beside what Linux 6.1 on x86 said, and its own header files."""

import sys

import pytest

from agents.engines.devices import nbd_module, netlink
from agents.engines.devices.netlink import NetlinkMessage

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the bytes are those of x86")

FAMILY = bytes.fromhex(
    "b40000001000000001000000ba000000"  # 180 bytes of the controller, to request 1
    "01020000"  # here is a new family
    "080002006e626400"  # its name: nbd
    "0600010020000000"  # its number: 32
    "08000300010000000800040000000000080005000a000000"
    "54000600"  # five commands
    "140001000800010001000000080002000a000000"
    "140002000800010002000000080002000a000000"
    "140003000800010003000000080002000a000000"
    "140004000800010005000000080002000a000000"
    "24000700"  # one group
    "200001000800020009000000110001006e62645f6d635f67726f757000000000"
)
DONE = bytes.fromhex("240000000200000101000000ba000000000000001c000000100005000100000000000000")
REFUSED = bytes.fromhex(
    "300000000200000007000000ba000000"
    "eaffffff"  # -EINVAL
    "1c0000002000050007000000000000000201000008000100ffffffff"
)


def test_what_the_kernel_says_of_a_family_is_read() -> None:
    ((sequence, kind, content),) = netlink.messages(FAMILY)
    told = netlink.message(content).attributes

    assert (sequence, kind) == (1, 16)
    assert told[netlink.FAMILY_NAME] == b"nbd\0"
    assert told[netlink.FAMILY_ID] == b"\x20\0"
    (group,) = netlink.attributes(told[netlink.FAMILY_GROUPS]).values()
    assert netlink.attributes(group)[netlink.GROUP_ID] == b"\x09\0\0\0"


@pytest.mark.parametrize(("datagram", "sequence", "error"), [(DONE, 1, 0), (REFUSED, 7, -22)])
def test_an_end_is_told_with_its_error(datagram: bytes, sequence: int, error: int) -> None:
    ((told, kind, content),) = netlink.messages(datagram)

    assert (told, kind) == (sequence, netlink.ERROR_TYPE)
    assert netlink.ERROR.unpack_from(content) == (error,)


def test_several_messages_in_one_datagram_are_all_read() -> None:
    padded = REFUSED + bytes(-len(REFUSED) % 4)

    assert [told[0] for told in netlink.messages(padded + DONE)] == [7, 1]


def test_a_request_is_laid_out_as_the_kernel_wants_it() -> None:
    asked = netlink.request(32, nbd_module.DISCONNECT, 7, netlink.u32(nbd_module.INDEX, 1000))

    assert asked.hex() == (
        "1c000000200005000700000000000000"  # 28 bytes to 32, acknowledged, request 7
        "02010000"  # disconnect, version 1
        "08000100e8030000"  # the device of this number
    )


def test_a_device_is_described_with_all_that_it_needs() -> None:
    device = nbd_module.Connect(1000, "vastsky", 1 << 30, 0x16D, 100)

    assert device.pack(9).hex() == (
        "08000100e8030000"  # number
        "0c0002000000004000000000"  # bytes
        "0c0003000002000000000000"  # bytes a block
        "0c0004000000000000000000"  # no timeout of requests
        "0c0005006d01000000000000"  # what the server can
        "0c0006000100000000000000"  # destroyed once it is disconnected
        "100007800c0001800800010009000000"  # one socket
        "0c0008006400000000000000"  # seconds to wait for another
        "0c000a0076617374736b7900"  # whose it is
    )


def test_of_broken_attributes_none_is_made_up() -> None:
    assert netlink.attributes(b"\x02\0\x01\0rest") == {}
    assert netlink.attributes(b"\x01") == {}
    assert netlink.message(b"\x04\x01\0\0" + netlink.u32(1, 3)) == NetlinkMessage(
        4, {1: b"\3\0\0\0"}
    )
