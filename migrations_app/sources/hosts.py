"""What counts as the address of a server, and as a range of addresses: one rule for forms and inventory files."""

from __future__ import annotations

import ipaddress
import re
import string

from ..engine.wording import Sentence, say

_LONGEST_LABEL = 63
_OF_A_LABEL = frozenset(string.ascii_letters + string.digits + "_-")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_MOST_CHARACTERS = 255


def why_no_host(text: str) -> Sentence | None:
    """Return what is wrong with the name or address of one server, with the remedy; None when nothing is."""
    if not text.isprintable() or re.search(r"[\s/,@\\]", text):
        return _anything_else()
    if ":" in text:
        return _why_no_ipv6(text)
    if set(text) <= set("0123456789."):
        return _why_no_ipv4(text)
    labels = text.removesuffix(".").split(".")
    if "" in labels:
        return say("A host name has no dot at its beginning, and no two in a row, as db1.example.com.")
    if len(text) > _MOST_CHARACTERS or not all(map(_is_label, labels)):
        return _anything_else()
    return None


def _is_label(text: str) -> bool:
    """Say whether this may stand between two dots; as an expression, so large a range takes 8 ms to compile."""
    known = all(char in _OF_A_LABEL or "\u00a1" <= char <= "\uffff" for char in text)
    return known and 1 <= len(text) <= _LONGEST_LABEL and "-" not in (text[0], text[-1])


def _anything_else() -> Sentence:
    return say(
        "Enter one host name or IP address alone, without blanks, path, port or account; the port has its own field."
    )


def _why_no_ipv4(text: str) -> Sentence | None:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return say("This is no IPv4 address: those are four numbers from 0 to 255, for example 192.0.2.14.")
    return None


def _why_no_ipv6(text: str) -> Sentence | None:
    address, percent, zone = text.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        if re.fullmatch(r"[^:]+:[0-9]*", text):
            return say("Leave the port out here; it has its own field.")
        return say("This is no IPv6 address, for example 2001:db8::14. The port has its own field.")
    return _anything_else() if percent and not _ZONE.fullmatch(zone) else None


def why_no_network(text: str) -> Sentence | None:
    """Return what is wrong with a range of addresses in CIDR notation; None when nothing is."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or "/" not in text:
        return say("This is no range of addresses, for example 10.0.0.0/16.")
    return None
