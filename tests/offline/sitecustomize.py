"""Python loads this by itself in every process that the tests start: only this machine can be
reached, and who tries is written down.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import Any

_connect, _connect_ex, _getaddrinfo = (
    socket.socket.connect,
    socket.socket.connect_ex,
    socket.getaddrinfo,
)


def _local(host: Any) -> bool:
    if host in (None, "", b"", "localhost", b"localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _check(host: Any) -> None:
    if not _local(host):
        with open(os.environ["ECONMORAL_NETWORK_LOG"], "a", encoding="utf-8") as log:
            log.write(f"{host}\n")
        raise OSError(errno.ENETUNREACH, f"the tests may not use the network ({host})")


def _guarded(real: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _check(address[0])
        return real(self, address)

    return connect


def _resolve(host: Any, *rest: Any, **more: Any) -> Any:
    _check(host)
    return _getaddrinfo(host, *rest, **more)


if "ECONMORAL_NETWORK_LOG" in os.environ:
    socket.socket.connect, socket.socket.connect_ex = _guarded(_connect), _guarded(_connect_ex)  # type: ignore[method-assign]
    socket.getaddrinfo = _resolve
