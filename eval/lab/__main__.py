"""One page on one's own machine: the bench, games to play, transcripts, faithfulness, a market,
training watched.

    python -m eval.lab                  # what is under runs/, at http://127.0.0.1:7860
    python -m eval.lab --runs results --model smollm2-135m --port 8000
    python -m eval.lab --host 0.0.0.0                 # for others too: asks for a password first

Nothing is sent anywhere: no analytics, no fonts from elsewhere, no account.  With another --host
than this machine's own the page asks its visitors for a password, which is read from
ECONMORAL_LAB_PASSWORD or typed at the prompt, never from the command line.
"""

from __future__ import annotations

import getpass
import ipaddress
import os
import socket
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from econmoral.checkpoints.models import find_model
from econmoral.files.options import Config, option, parse
from econmoral.files.records import InputError, command, program, terminal

PASSWORD = "ECONMORAL_LAB_PASSWORD"
SHORTEST = 8  # characters of a password


@dataclass(frozen=True)
class LabConfig(Config):
    """Options of ``python -m eval.lab``."""

    runs: Path = option(
        Path("runs"), "folder in which adapters, measurements and trainings are looked for"
    )
    model: str | None = option(
        None,
        "model that is shown first: name, hub id or folder (default: that of the adapters, else "
        "nano)",
    )
    host: str = option(
        "127.0.0.1", "address to listen at; any but this machine's own asks for a password"
    )
    port: int = option(7860, "port to listen at")
    password: bool = option(False, "ask for a password on this machine too")


def own_machine(host: str) -> bool:
    """Whether only this machine can reach that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def password_for(host: str, asked: bool) -> str | None:
    """The password of the page; None where it is on this machine alone and none was asked for.
    Raises InputError where it lacks.
    """
    if own_machine(host) and not asked:
        return None
    given = os.environ.get(PASSWORD)
    if given is None and sys.stdin.isatty():
        given = getpass.getpass("Password for the page: ")
    if given is None:
        raise InputError(
            f"--host {host} opens the page to others: set {PASSWORD}, or start it at a terminal, "
            "where the password is asked for"
        )
    if len(given) < SHORTEST:
        raise InputError(f"the password needs at least {SHORTEST} characters")
    return given


def free(host: str, port: int) -> None:
    """Raises InputError where the address cannot be had."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((host, port))
    except OSError as error:
        raise InputError(
            f"{host}:{port} cannot be had ({error.strerror}); give another --host or --port"
        ) from None


def main() -> None:
    """Entry point."""
    config = parse(LabConfig, program("python -m eval.lab"), __doc__)
    if find_spec("gradio") is None:
        raise InputError("the lab needs the package gradio: pip install 'econmoral[lab]'")
    if not 1 <= config.port <= 65535:
        raise InputError(f"--port must lie between 1 and 65535, got {config.port}")
    if config.model:
        find_model(config.model)
    password = password_for(config.host, config.password)
    free(config.host, config.port)
    from .page import launch  # Gradio and torch take seconds
    from .shared import Lab

    lab = Lab(config.runs, config.model)
    where = f"http://{f'[{config.host}]' if ':' in config.host else config.host}:{config.port}"
    terminal(80).print(
        f"{where}  ({len(lab.adapters)} adapter(s) under {config.runs}; stop with Ctrl-C)"
    )
    launch(lab, config.host, config.port, password)


if __name__ == "__main__":
    command(main)
