"""Firefox and WebKit by their own means, without a driver to be fetched: WebDriver's commands over two transports.

Playwright drives builds of its own of these engines, which are not on a machine that has only a distribution's
packages. Firefox takes the commands over a socket (Marionette, in every build of it), WebKitGTK over HTTP.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element in WebDriver's JSON (W3C WebDriver, 11)
_BEGIN_SECONDS = 60.0
MINI_BROWSERS = ("/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser", "/usr/libexec/webkit2gtk-4.1/MiniBrowser")

KEYS: Mapping[str, str] = {
    "Enter": "\ue007",
    "Tab": "\ue004",
    "Escape": "\ue00c",
    "ArrowRight": "\ue014",
    "ArrowDown": "\ue015",
    "ArrowLeft": "\ue012",
    "Shift": "\ue008",
}


class Driven(ABC):
    """A browser that is told what to do, and the page it shows."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @abstractmethod
    def _call(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Send one command of the table below."""

    def open(self, url: str) -> None:
        """Go to an address."""
        self._call("navigate", {"url": url})

    def script(self, body: str, *arguments: Any) -> Any:
        """What the body of a function gives, in the page."""
        return self._call("script", {"script": body, "args": list(arguments)})

    def element(self, selector: str) -> str:
        """The first element that a selector names."""
        found: str = self._call("find", {"using": "css selector", "value": selector})[_ELEMENT]
        return found

    def click(self, selector: str) -> None:
        """Click as a person does: it fails where something lies over it."""
        self._call("click", {"id": self.element(selector)})

    def type(self, selector: str, text: str) -> None:
        """Type into an element; of an <input type=file>, choose a file by its path."""
        self._call("type", {"id": self.element(selector), "text": text})

    def keys(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is: letters, or names in `KEYS`; "Shift+Enter"."""
        actions: list[dict[str, str]] = []
        for combined in keys:
            parts = [KEYS.get(part, part) for part in (combined.split("+") if len(combined) > 1 else [combined])]
            actions += [{"type": "keyDown", "value": part} for part in parts]
            actions += [{"type": "keyUp", "value": part} for part in reversed(parts)]
        self._call("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def point(self, selector: str) -> None:
        """Bring the mouse to the middle of an element."""
        move = {"type": "pointerMove", "x": 0, "y": 0, "duration": 0, "origin": {_ELEMENT: self.element(selector)}}
        self._call("actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move]}]})

    def back(self) -> None:
        """Go back in history."""
        self._call("back", {})

    def forward(self) -> None:
        """Go forward in history."""
        self._call("forward", {})

    def reload(self) -> None:
        """Load the page anew."""
        self._call("refresh", {})

    def size(self, width: int, height: int) -> None:
        """Make the window as large as that."""
        self._call("size", {"width": width, "height": height})

    def screenshot(self, path: Path) -> None:
        """Keep what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self._call("screenshot", {})))

    def until(self, expression: str, seconds: float = 30.0) -> Any:
        """Wait until an expression is true on the page; what it is."""
        end = time.monotonic() + seconds
        while not (found := self.script(f"return {expression}")):
            if time.monotonic() > end:
                raise AssertionError(f"not true in {seconds} s: {expression}")
            time.sleep(0.03)
        return found

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # it may be gone already
            self._call("quit", {})
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


# --- Firefox ---

_PREFERENCES: Mapping[str, Any] = {
    "marionette.port": 0,
    "remote.active-protocols": 2,
    "app.update.disabledForTesting": True,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.safebrowsing.update.enabled": False,
    "browser.topsites.contile.enabled": False,
    "captivedetect.canonicalURL": "",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "toolkit.telemetry.server": "",
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "services.settings.server": "data:,",
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
}

_MARIONETTE = {
    "navigate": "WebDriver:Navigate",
    "script": "WebDriver:ExecuteScript",
    "find": "WebDriver:FindElement",
    "click": "WebDriver:ElementClick",
    "type": "WebDriver:ElementSendKeys",
    "actions": "WebDriver:PerformActions",
    "back": "WebDriver:Back",
    "forward": "WebDriver:Forward",
    "refresh": "WebDriver:Refresh",
    "size": "WebDriver:SetWindowRect",
    "screenshot": "WebDriver:TakeScreenshot",
    "quit": "Marionette:Quit",
}


class Firefox(Driven):
    """Firefox without a window."""

    def __init__(self, path: str, folder: Path, *, preferences: Mapping[str, Any] | None = None) -> None:
        profile = folder / "firefox"
        profile.mkdir(parents=True)
        wanted = {**_PREFERENCES, **(preferences or {})}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in wanted.items()]
        (profile / "user.js").write_text("\n".join(lines))
        command = [path, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
        environment = {**os.environ, "HOME": str(folder), "MOZ_CRASHREPORTER_DISABLE": "1"}
        quiet = subprocess.DEVNULL
        super().__init__(subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment))
        said = profile / "MarionetteActivePort"
        _wait(lambda: said.exists() and bool(said.read_text().strip()), self._process)
        self._socket = socket.create_connection(("127.0.0.1", int(said.read_text())), timeout=120)
        self._received = b""
        self._numbers = itertools.count(1)
        self._read()  # it says hello
        self._send("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"acceptInsecureCerts": False}}})

    def _call(self, command: str, arguments: Mapping[str, Any]) -> Any:
        arguments = dict(arguments)
        if command == "actions":
            arguments["actions"] = [
                {**source, **({"parameters": {"pointerType": "mouse"}} if source["type"] == "pointer" else {})}
                for source in arguments["actions"]
            ]
        if command == "screenshot":
            arguments["full"] = False
        found = self._send(_MARIONETTE[command], arguments)
        return found["value"] if isinstance(found, dict) and "value" in found else found

    def _send(self, name: str, arguments: Mapping[str, Any]) -> Any:
        number = next(self._numbers)
        message = json.dumps([0, number, name, arguments]).encode()
        self._socket.sendall(str(len(message)).encode() + b":" + message)
        _, answered, error, value = self._read()
        if answered != number:
            raise RuntimeError(f"answer {answered} to command {number}")
        if error:
            raise RuntimeError(f"{name}: {error['error']}: {error['message']}")
        return value

    def _read(self) -> Any:
        while b":" not in self._received:
            self._more()
        length, _, rest = self._received.partition(b":")
        self._received = rest
        while len(self._received) < int(length):
            self._more()
        message, self._received = self._received[: int(length)], self._received[int(length) :]
        return json.loads(message)

    def _more(self) -> None:
        got = self._socket.recv(1 << 20)
        if not got:
            raise RuntimeError("Firefox has hung up")
        self._received += got

    def close(self) -> None:
        """End the browser."""
        super().close()
        self._socket.close()


# --- WebKit ---

_HTTP: Mapping[str, tuple[str, str]] = {
    "navigate": ("POST", "/url"),
    "script": ("POST", "/execute/sync"),
    "find": ("POST", "/element"),
    "click": ("POST", "/element/{id}/click"),
    "type": ("POST", "/element/{id}/value"),
    "actions": ("POST", "/actions"),
    "back": ("POST", "/back"),
    "forward": ("POST", "/forward"),
    "refresh": ("POST", "/refresh"),
    "size": ("POST", "/window/rect"),
    "screenshot": ("GET", "/screenshot"),
    "quit": ("DELETE", ""),
}


class WebKit(Driven):
    """WebKitGTK's small browser, in a display of its own."""

    def __init__(self, driver: str, browser: str, folder: Path) -> None:
        import httpx2

        folder.mkdir(parents=True, exist_ok=True)
        self._display = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._display.stdout is not None
        number = self._display.stdout.readline().decode().strip()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "DISPLAY": f":{number}",
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",  # it has none where it runs as root, and would not begin
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "NO_AT_BRIDGE": "1",
            "GDK_BACKEND": "x11",
        }
        quiet = subprocess.DEVNULL
        command = [driver, f"--port={port}"]
        super().__init__(subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment))
        self._http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120)

        def answers() -> bool:
            try:
                return bool(self._http.get("/status").status_code == 200)
            except httpx2.TransportError:
                return False

        _wait(answers, self._process)
        options = {"binary": browser, "args": ["--automation"]}
        wanted = {"alwaysMatch": {"browserName": "MiniBrowser", "webkitgtk:browserOptions": options}}
        self._session = ""
        self._session = f"/session/{self._send('POST', '/session', {'capabilities': wanted})['sessionId']}"

    def _call(self, command: str, arguments: Mapping[str, Any]) -> Any:
        method, path = _HTTP[command]
        rest = {name: value for name, value in arguments.items() if name != "id"}
        return self._send(method, self._session + path.format(**arguments), rest if method == "POST" else None)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        answer = self._http.request(method, path, json=body)
        value = answer.json().get("value")
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {value}")
        return value

    def close(self) -> None:
        """End the browser and its display."""
        super().close()
        self._http.close()
        self._display.terminate()
        self._display.wait(60)
        assert self._display.stdout is not None
        self._display.stdout.close()


def _wait(is_there: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _BEGIN_SECONDS
    while not is_there():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended at once, with {process.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"{process.args!r} does not answer in {_BEGIN_SECONDS:.0f} s")
        time.sleep(0.05)


def firefox_path() -> str | None:
    """Where Firefox is, if anywhere."""
    return os.environ.get("MMSEARCH_FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")


def webkit_paths() -> tuple[str, str] | None:
    """Where WebKit's driver and its small browser are, if they are, with a display to run them in."""
    driver, browser = shutil.which("WebKitWebDriver"), next(filter(os.path.exists, MINI_BROWSERS), None)
    return (driver, browser) if driver and browser and shutil.which("Xvfb") else None
