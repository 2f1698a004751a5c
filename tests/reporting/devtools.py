"""A headless Chromium, driven over a pipe by its DevTools protocol: no driver, no network port."""

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    """Return the path of a Chromium, where there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


NEEDS_BROWSER = pytest.mark.skipif(find_browser() is None, reason="no chromium on this machine")


class Page:
    """One tab."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb")
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.problems: list[str] = []
        """Errors, uncaught exceptions and refused loads since the page was opened."""

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def _read(self) -> dict[str, Any]:
        content = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser is gone")
            content += byte
        message: dict[str, Any] = json.loads(content)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.problems.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:")):
                self.problems.append(f"asked the network for {url}")

    def attach(self) -> Self:
        """Open a tab and listen to it."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        return self

    def open(self, path: Path, *, width: int, theme: str = "light") -> None:
        """Show a file in a window of a width, in a colour scheme the system prefers."""
        self.problems.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": theme}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.evaluate(
            "new Promise(done => document.readyState === 'complete' ? done()"
            " : addEventListener('load', done))"
        )
        self.settle()

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, awaited."""
        result = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def settle(self) -> None:
        """Wait until the sample answers that were asked for are shown."""
        self.evaluate(
            "new Promise(done => { const look = () => {"
            " const status = document.getElementById('status');"
            " !status || status.textContent ? done() : setTimeout(look, 10); }; look(); })"
        )

    def close(self) -> None:
        """Let go of the pipe."""
        self._commands.close()
        self._answers.close()

    def screenshot(self, path: Path) -> None:
        """Save the whole page, beyond the window too."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def open_browser(browser: str, profile: Path) -> Iterator[Page]:
    """Run a Chromium with one tab while the block runs."""
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    # The browser reads its commands from descriptor 3 and answers on 4; ours must not be those.
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (their_in, their_out)]
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    command += [f"--user-data-dir={profile}", "--no-first-run", "--disable-dev-shm-usage"]
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}', "bash", *command],
        pass_fds=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (their_in, their_out, *theirs):
        os.close(end)
    page = Page(our_out, our_in)
    try:
        yield page.attach()
    finally:
        page.close()
        process.terminate()
        process.wait(timeout=20)


def choose(page: Page, name: str, label: str) -> None:
    """Choose an option by what it reads, as a person does."""
    page.evaluate(
        f"(() => {{ const select = document.querySelector('[name={name}]');"
        f"const at = [...select.options].findIndex((o) => o.text === {json.dumps(label)});"
        "select.selectedIndex = at; document.getElementById('status').textContent = '';"
        "select.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    page.settle()


def click(page: Page, selector: str) -> None:
    page.evaluate(
        "document.getElementById('status').textContent = '';"
        f"document.querySelector({json.dumps(selector)}).click()"
    )
    page.settle()


def read_texts(page: Page, selector: str) -> list[str]:
    texts: list[str] = page.evaluate(
        f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)"
    )
    return texts
