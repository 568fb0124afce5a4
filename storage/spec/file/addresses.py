"""Which addresses are the public internet's. Pure; the numbers are those of IANA's registries of special addresses.

A name can be made to lead anywhere: to this machine, to the office network, to the address at which clouds hand out
their keys. So what counts is where a name leads, and only public addresses count as the internet.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

_NOT_PUBLIC: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",  # to many, and what was never given out
        "168.63.129.16/32",  # public by its number; inside Azure it is the host's own service
    )
)  # fmt: skip
_GIVEN_OUT: Final = IPv6Network("2000::/3")  # all that hosts on the internet have, less these
_NOT_PUBLIC_6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # tunnels and protocols
        "2001:db8::/32", "3fff::/20",  # for examples
        "2002::/16",  # 6to4: holds an IPv4 address of anybody's choice
    )
)  # fmt: skip
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")  # how a network without IPv4 writes an IPv4 address


def is_public(address: str) -> bool:
    """Whether an address, as a name server gave it, is one of the public internet."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return _public_4(found) if isinstance(found, IPv4Address) else _public_6(found)


def _public_4(address: IPv4Address) -> bool:
    return not any(address in network for network in _NOT_PUBLIC)


def _public_6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    if address in _TRANSLATED:
        return _public_4(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GIVEN_OUT and not any(address in network for network in _NOT_PUBLIC_6)
