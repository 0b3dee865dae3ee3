"""A headless Chromium that tests drive by its DevTools protocol over a pipe: no package, no port.

with Browser(tmp_path) as browser:
    tab = browser.tab("http://127.0.0.1:7860", width=390, height=844, dark=True)
    tab.press("Tab")
    tab.wait("document.activeElement.textContent", "Bench")
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import pytest

QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    # a frame of ours is then in the tab's own process, and seen from it
    "--disable-features=IsolateSandboxedIframes",
)
KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    " ": (32, " "),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    "Home": (36, ""),
    "End": (35, ""),
    "Escape": (27, ""),
}


class Browser:
    """One Chromium; every message is JSON, ended by a zero byte."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            pytest.skip("no Chromium on this machine; .ci/run installs one")
        there, self._to = os.pipe()
        self._from, back = os.pipe()

        def hand_over() -> None:  # Chromium reads from 3 and writes to 4
            a, b = os.dup(there), os.dup(back)
            os.dup2(a, 3)
            os.dup2(b, 4)

        command = [program, *QUIET, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        self._process = subprocess.Popen(
            command,
            preexec_fn=hand_over,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(there)
        os.close(back)
        self._left, self._number = b"", 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._to)
        os.close(self._from)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of one command.  Events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters} | (
            {"sessionId": session} if session else {}
        )
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 120
        while time.monotonic() < end:
            found = self._read()
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found['error']}"
                return dict(found.get("result", {}))
            self.events.append(found)
        raise AssertionError(f"{method}: no answer")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            some = os.read(self._from, 1 << 20)
            assert some, "Chromium has ended"
            self._left += some
        line, _, self._left = self._left.partition(b"\0")
        return dict(json.loads(line))

    def tab(self, address: str, width: int = 1280, height: int = 900, dark: bool = False) -> Tab:
        """A new tab in a context of its own, at an address."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send(
            "Target.createTarget",
            url="about:blank",
            browserContextId=context,
            width=width,
            height=height,
        )["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.send(f"{domain}.enable")
        tab.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        tab.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        tab.go(address)
        return tab


class Tab:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command to this tab."""
        return self.browser.send(method, self.session, **parameters)

    def go(self, address: str) -> None:
        """Open an address and wait until it is loaded."""
        self.send("Page.navigate", url=address)
        self.wait("document.readyState", "complete")

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are waited for."""
        found = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def reach(self, found: str, most: int = 120) -> None:
        """Press Tab until an expression about ``here``, the element with the focus, holds:
        nothing is clicked.
        """
        for _ in range(most):
            if self.value(f"((here) => Boolean({found}))(document.activeElement)"):
                return
            self.press("Tab")
        raise AssertionError(
            f"{most} times Tab did not reach {found}; the focus is on "
            f"{self.value('document.activeElement.outerHTML.slice(0, 200)')}"
        )

    def framed(self, expression: str) -> Any:
        """The value of an expression inside the page's frame,
        however closed that is to the page.
        """
        (frame, *_) = self.send("Page.getFrameTree")["frameTree"]["childFrames"]
        world = self.send("Page.createIsolatedWorld", frameId=frame["frame"]["id"])[
            "executionContextId"
        ]
        found = self.send(
            "Runtime.evaluate",
            expression=expression,
            contextId=world,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, wanted: Any = True, seconds: float = 60) -> Any:
        """The value of an expression as soon as it is ``wanted`` (True:
        as soon as it is truthy).
        """
        end, found = time.monotonic() + seconds, None
        while time.monotonic() < end:
            try:
                found = self.value(expression)
            except AssertionError as error:  # a page in the middle of being loaded
                found = str(error)[:300]
            else:
                if found == wanted or (wanted is True and found):
                    return found
            time.sleep(0.05)
        raise AssertionError(
            f"{expression} is {str(found)[:400]!r}, not {wanted!r}, after {seconds} s"
        )

    def press(self, key: str, times: int = 1, shift: bool = False) -> None:
        """A key of KEYS, or a sign that is typed."""
        code, text = KEYS.get(key, (ord(key.upper()[0]), key))
        what: dict[str, Any] = {
            "key": key,
            "code": key if len(key) > 1 else f"Key{key.upper()}",
            "windowsVirtualKeyCode": code,
        }
        if key == " ":
            what["code"] = "Space"
        for _ in range(times):
            self.send(
                "Input.dispatchKeyEvent",
                type="keyDown",
                modifiers=8 * shift,
                **what,
                **({"text": text} if text else {}),
            )
            self.send("Input.dispatchKeyEvent", type="keyUp", modifiers=8 * shift, **what)

    def type(self, text: str) -> None:
        """Text into what has the focus, in place of what stands there."""
        self.send(
            "Input.dispatchKeyEvent",
            type="keyDown",
            key="a",
            code="KeyA",
            windowsVirtualKeyCode=65,
            modifiers=2,
            commands=["selectAll"],
        )
        self.send("Input.insertText", text=text)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """What is seen, or the whole page, as PNG."""
        picture = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))

    @property
    def _mine(self) -> list[dict[str, Any]]:
        self.value("1")  # whatever has happened until now has been read
        return [e for e in self.browser.events if e.get("sessionId") == self.session]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, uncaught exceptions."""
        found = []
        for event in self._mine:
            what = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(what["exceptionDetails"])[:600])
            elif event["method"] == "Runtime.consoleAPICalled" and what["type"] in (
                "error",
                "assert",
            ):
                found.append(
                    str([a.get("value") or a.get("description") for a in what["args"]])[:600]
                )
            elif event["method"] == "Log.entryAdded" and what["entry"]["level"] == "error":
                found.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")
        return found

    def hosts(self) -> set[str]:
        """Every machine that a request was made to."""
        addresses = [
            e["params"]["request"]["url"]
            for e in self._mine
            if e["method"] == "Network.requestWillBeSent"
        ]
        addresses += [
            e["params"]["url"] for e in self._mine if e["method"] == "Network.webSocketCreated"
        ]
        return {
            urlsplit(a).hostname or ""
            for a in addresses
            if urlsplit(a).scheme not in ("data", "blob", "file", "about")
        }
