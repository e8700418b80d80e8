"""A real browser, headless, told what to do by the W3C WebDriver protocol."""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

CHROMIUM: Final = shutil.which("chromium")
CHROMEDRIVER: Final = shutil.which("chromedriver")
IS_HERE: Final = CHROMIUM is not None and CHROMEDRIVER is not None

PATIENCE: Final = 60.0
"""Seconds after which waiting fails. Nothing takes nearly as long, even on a busy machine."""


class Browser:
    """One window."""

    def __init__(self, session: str, client: httpx.Client) -> None:
        self._session = session
        self._client = client

    def open(self, address: str) -> None:
        """Go to an address."""
        self._tell("url", url=address)

    def size(self, width: int, height: int = 900) -> None:
        """Let the page's view have this size."""
        self._tell(
            "goog/cdp/execute",
            cmd="Emulation.setDeviceMetricsOverride",
            params={"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def dark(self, wanted: bool = True) -> None:
        """Let the person prefer dark pages, or light ones."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if wanted else "light"}]
        self._tell("goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": features})

    def run(self, script: str) -> Any:
        """What a function with this body returns in the page."""
        return self._tell("execute/sync", script=script, args=[])

    def wait(self, script: str) -> Any:
        """What it returns, once that is something."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.run(script)):
            if time.monotonic() > deadline:
                raise AssertionError(f"never true: {script}; the page is\n{self.text()[:3000]}")
            time.sleep(0.05)
        return found

    def text(self) -> str:
        """What the page shows."""
        return str(self.run("return document.body.innerText"))

    def errors(self) -> list[str]:
        """What the page's console complained of."""
        return [str(each["message"]) for each in self._tell("se/log", type="browser")]

    def picture(self, file: Path) -> None:
        """A screenshot of the whole page."""
        shot = self._tell("goog/cdp/execute", cmd="Page.captureScreenshot", params={"captureBeyondViewport": True})
        file.write_bytes(base64.b64decode(shot["data"]))

    def press(self, key: str) -> None:
        """Press a key, such as Tab."""
        codes = {"Tab": ("Tab", 9), "Enter": ("Enter", 13), "+": ("+", 187), "0": ("0", 48)}
        name, code = codes[key]
        text = {"Tab": {}, "Enter": {"text": "\r"}}.get(key, {"text": key})
        for kind in ("keyDown", "keyUp"):
            params = {"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": code, **text}
            self._tell("goog/cdp/execute", cmd="Input.dispatchKeyEvent", params=params)

    def _tell(self, command: str, **body: Any) -> Any:
        answer = self._client.post(f"/session/{self._session}/{command}", json=body).json()["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{command}: {answer['error']}: {answer['message']}")
        return answer


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, until the context ends."""
    assert CHROMEDRIVER is not None
    with subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        try:
            line = next(line for line in driver.stdout if "successfully on port" in line)
            base = f"http://127.0.0.1:{line.rpartition('port ')[2].strip().rstrip('.')}"
            with httpx.Client(base_url=base, timeout=PATIENCE, trust_env=False) as client:
                options = {
                    "binary": CHROMIUM,
                    "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
                }
                wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
                value = client.post("/session", json={"capabilities": wanted}).json()["value"]
                try:
                    yield Browser(value["sessionId"], client)
                finally:
                    client.delete(f"/session/{value['sessionId']}")
        finally:
            driver.terminate()
