"""Chromium without a window, driven through its debugging pipe: no port, no network, no library."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 60.0  # for one answer
NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--remote-debugging-pipe", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


def found() -> str | None:
    """The browser of this machine."""
    return next((place for name in NAMES if (place := shutil.which(name))), None)


class Tab:
    """An open page."""

    def __init__(self, into: int, out: int) -> None:
        self._into, self._out, self._rest, self._number = into, out, b"", 0
        targets = self._ask("Target.getTargets")["targetInfos"]
        (page,) = [target["targetId"] for target in targets if target["type"] == "page"]
        self._session = self._ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    _session: str | None = None

    def open(self, address: str) -> None:
        """Load an address and wait until its scripts ran."""
        self._ask("Page.navigate", url="about:blank")
        self._ask("Page.navigate", url=address)
        self.run("new Promise(done => document.readyState === 'complete' ? done() : (window.onload = done))")

    def run(self, script: str) -> Any:
        """The value of an expression; a promise's when it is kept."""
        answer = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def choose(self, selector: str, *files: Path) -> None:
        """Give files to an input, as its dialog would."""
        script = f"document.querySelector({json.dumps(selector)})"
        found = self._ask("Runtime.evaluate", expression=script)["result"]["objectId"]
        self._ask("DOM.setFileInputFiles", files=[str(place) for place in files], objectId=found)

    def _ask(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._into, json.dumps(asked).encode() + b"\0")
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _message(self) -> bytes:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._out], [], [], SECONDS)
            assert ready, "the browser does not answer"
            piece = os.read(self._out, 1 << 16)
            assert piece, "the browser ended"
            self._rest += piece
        message, self._rest = self._rest.split(b"\0", 1)
        return message


@contextmanager
def tab(browser: str, profile: Path) -> Iterator[Tab]:
    """A browser with a profile of its own, ended with the block."""
    pairs = (*os.pipe(), *os.pipe())
    theirs, into, out, answers = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in pairs)
    for end in pairs:
        os.close(end)
    null = os.open(os.devnull, os.O_WRONLY)
    actions = [
        (os.POSIX_SPAWN_DUP2, theirs, 3),
        (os.POSIX_SPAWN_DUP2, answers, 4),
        (os.POSIX_SPAWN_DUP2, null, 2),
    ]
    command = [browser, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    process = os.posix_spawn(browser, command, dict(os.environ), file_actions=actions)
    for end in (theirs, answers, null):
        os.close(end)
    try:
        yield Tab(into, out)
    finally:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)
        os.close(into)
        os.close(out)
