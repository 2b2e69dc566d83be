"""A page in headless Chromium, driven over its debugging protocol: what it logged, what it shows, keys it gets."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

_SECONDS = 60


class Browser:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.problems: list[str] = []
        """Exceptions, console output and refused resources."""
        self.requests: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A protocol call's result; events that come meanwhile are noted."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        if event["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.problems.append(json.dumps(event["params"])[:500])
        elif event["method"] == "Network.requestWillBeSent":
            self.requests.append(str(event["params"]["request"]["url"])[:200])

    def value(self, expression: str) -> Any:
        """A JavaScript expression's value."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until the expression is true."""
        deadline = time.monotonic() + _SECONDS
        while not self.value(expression):
            assert time.monotonic() < deadline, f"never became true: {expression}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """A key, as a person presses it."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if len(key) == 1 else "")

    def open(self, page: Path) -> None:
        """Load a file and wait for it."""
        for domain in ("Runtime", "Log", "Page", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=page.as_uri())
        self.until("document.readyState === 'complete'")


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Headless Chromium with a fresh profile; skips where it is not installed."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ports = profile / "DevToolsActivePort"
        deadline = time.monotonic() + _SECONDS
        while not ports.exists() or ports.read_text().count("\n") < 1:
            assert time.monotonic() < deadline, "Chromium did not start"
            assert process.poll() is None, "Chromium ended"
            time.sleep(0.05)
        _port, _path = ports.read_text().split("\n")[:2]
        with connect(_page_address(ports.read_text().split("\n")[0]), max_size=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()  # ends its own children, which a kill would leave behind
        process.wait(timeout=20)


def _page_address(port: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=20) as answer:
        return str(next(page["webSocketDebuggerUrl"] for page in json.load(answer) if page["type"] == "page"))
