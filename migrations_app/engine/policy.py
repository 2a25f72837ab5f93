"""Which addresses may be dialled at all. Pure: judges numbers, resolves and opens nothing.

Who may enter an address in the console could otherwise reach whatever the workers can reach: the cloud's metadata
service, the machine's own loopback, the console's own database. Python's `is_private` and `is_global` do not draw this
line (NAT64, 6to4 and IPv4-compatible spellings slip through both), hence a table of our own.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator

from .values import frozen

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NEVER = _networks(
    "0.0.0.0/8",  # "this host": Linux takes 0.0.0.0 as loopback
    "169.254.0.0/16",  # link-local, the metadata services of most clouds among them
    "100.100.100.200/32",  # metadata services outside link-local: Alibaba, Azure, Oracle
    "168.63.129.16/32",
    "192.0.0.192/32",
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and the broadcast address
    "::/128",
    "fe80::/10",
    "fec0::/10",  # site-local, withdrawn
    "fd00:ec2::254/128",  # metadata by IPv6: Amazon, Google
    "fd20:ce::254/128",
    "ff00::/8",
)
# What clouds call their metadata services, for names that only an SSH host can resolve.
_METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
        "metadata.oraclecloud.com",
    }
)
_LOOPBACK = _networks("127.0.0.0/8", "::1/128")
# Ranges that carry an IPv4 address inside: (network, bits to the right of it).
_CARRIERS = (
    (ipaddress.IPv6Network("::/96"), 0),  # IPv4-compatible
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("64:ff9b:1::/48"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
    (ipaddress.IPv6Network("2001::/32"), 64),  # Teredo: the server
)
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_TEREDO = ipaddress.IPv6Network("2001::/32")
_ISATAP = (0x00005EFE, 0x02005EFE)
_WORD = 0xFFFFFFFF


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks that a list of CIDR texts names. Raises ValueError with the text that is none."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip()))
        except ValueError as error:
            raise ValueError(f"{text!r} is not an address range such as 10.0.0.0/8 or 2001:db8::/32: {error}") from None
    return tuple(found)


def literal(host: str) -> Address | None:
    """Return the address that a host text spells, without brackets and zone; None when it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def spelled(host: str) -> Address | None:
    """Return the address that a resolver reads from a host text without asking anybody: 2852039166, 0xa9.0xfe.43518."""
    plain = host.rstrip(".")
    number = literal(plain)
    if number is not None or not plain:
        return number
    try:
        return ipaddress.IPv4Address(socket.inet_aton(plain))
    except (OSError, UnicodeError):
        return None


@frozen
class AddressPolicy:
    """What may be dialled. `deny` wins over `allow`; a non-empty `allow` is the whole list of what may.

    Loopback is special: `loopback` opens it, and so does a network in `allow` that lies within it. `closed` are
    (address, port) pairs that are never dialled, such as the console's own database.
    """

    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    loopback: bool = False
    closed: frozenset[tuple[str, int]] = frozenset()

    def allows(self, address: str, port: int) -> bool:
        """Judge one numeric address in any spelling, by itself and by the IPv4 addresses that it carries."""
        number = literal(address)
        if number is None:
            return False
        mapped = getattr(number, "ipv4_mapped", None)
        number = mapped or number
        return self._listed(number) and all(self._harmless(one, port) for one in (number, *carried(number)))

    def allows_beyond(self, host: str, port: int) -> bool:
        """Judge what an SSH host is asked to dial. A name is resolved there, not here, so only numbers are judged, in
        every spelling that a resolver takes for one, and the names of metadata services are refused.

        Loopback is the SSH host's own there: the usual place of a database behind a bastion.
        """
        number = spelled(host)
        if number is None:
            return host.rstrip(".").lower() not in _METADATA_NAMES
        if self._is_loopback(number):
            return not self._within(number, self.deny) and (not self.allow or self._within(number, self.allow))
        return self.allows(str(number), port)

    def _listed(self, number: Address) -> bool:
        return not self.allow or self._within(number, self.allow)

    def _harmless(self, number: Address, port: int) -> bool:
        if self._within(number, _NEVER) or self._within(number, self.deny) or self._is_closed(number, port):
            return False
        return not self._is_loopback(number) or self.loopback or self._opens_loopback(number)

    def _is_closed(self, number: Address, port: int) -> bool:
        if (str(number), port) in self.closed:
            return True
        # Who listens on one loopback address may well listen on all of them.
        return self._is_loopback(number) and any(
            port == closed and self._is_loopback(ipaddress.ip_address(address)) for address, closed in self.closed
        )

    def _opens_loopback(self, number: Address) -> bool:
        return any(
            number in network and any(_inside(network, loopback) for loopback in _LOOPBACK) for network in self.allow
        )

    @staticmethod
    def _is_loopback(number: Address) -> bool:
        mapped = getattr(number, "ipv4_mapped", None)
        return any((mapped or number) in network for network in _LOOPBACK)

    @staticmethod
    def _within(number: Address, networks: tuple[Network, ...]) -> bool:
        return any(number in network for network in networks)

    def to_json(self) -> dict[str, object]:
        """Return it as plain values, for another process."""
        return {
            "allow": [str(network) for network in self.allow],
            "deny": [str(network) for network in self.deny],
            "loopback": self.loopback,
            "closed": sorted([address, port] for address, port in self.closed),
        }

    @classmethod
    def from_json(cls, values: dict[str, object]) -> AddressPolicy:
        """Return what `to_json` wrote."""
        return cls(
            allow=parse_networks(values["allow"]),  # type: ignore[arg-type]
            deny=parse_networks(values["deny"]),  # type: ignore[arg-type]
            loopback=bool(values["loopback"]),
            closed=frozenset((str(address), int(port)) for address, port in values["closed"]),  # type: ignore[attr-defined]
        )


def _inside(network: Network, loopback: Network) -> bool:
    return network.version == loopback.version and network.subnet_of(loopback)  # type: ignore[arg-type]


def carried(number: Address) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 addresses that an IPv6 address carries in one of the known ways."""
    if number.version == 4 or number == ipaddress.IPv6Address("::1"):
        return
    value = int(number)
    for network, shift in _CARRIERS:
        if number in network:
            yield ipaddress.IPv4Address(value >> shift & _WORD)
    if number in _TEREDO:
        yield ipaddress.IPv4Address(~value & _WORD)  # the client, with every bit turned
    if number in _LOCAL_NAT64:  # the form for a prefix of 48 bits, which goes around bits 64 to 71
        yield ipaddress.IPv4Address((value >> 64 & 0xFFFF) << 16 | (value >> 40 & 0xFFFF))
    if value >> 32 & _WORD in _ISATAP:
        yield ipaddress.IPv4Address(value & _WORD)
