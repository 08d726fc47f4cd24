"""What the operator of the server decides; nothing of it comes from a browser."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter

DEFAULT_PORT = 8000
LOOPBACK = "127.0.0.1"
_LOCAL_NAME = "localhost"


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The settings of a server.

    Attributes
    ----------
    host, port
        Where it listens; port 0 is any free one.
    allow_network
        Whether other computers may use it.
    allowed_hosts
        Names, besides addresses, by which other computers may call it.
    save_corrections
        The folder for corrected characters; None if none are stored.
    data
        Data sets that a training may use, besides those found by themselves.

    Raises
    ------
    SettingsError
        If it would listen to a network without permission.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    allow_network: bool = False
    allowed_hosts: tuple[str, ...] = ()
    save_corrections: str | None = None
    data: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.allow_network and not is_loopback(self.host):
            raise SettingsError(
                f"{parameter('host', self.host)} lets other computers use this program, its cores and what it shows; "
                f"if they may, add {parameter('allow_network')}"
            )
        if self.allowed_hosts and not self.allow_network:
            raise SettingsError(f"{parameter('allowed_host')} has no effect without {parameter('allow_network')}")


def is_loopback(host: str) -> bool:
    """Return whether a name or an address can only be this computer's own."""
    address = address_of(host)
    return host.lower() == _LOCAL_NAME if address is None else address.is_loopback


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a text is; None for names."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
