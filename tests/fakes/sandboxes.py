"""A pool without sandboxes: answers come from a function. For tests and benchmarks of what is above a sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from repoexpert.sandbox.protocol import TESTBED, Result, Sandbox, StartTree


class FakeSandbox:
    """Answers commands by a function; files are a dictionary."""

    def __init__(self, answer: Callable[[str], Result]) -> None:
        self._answer = answer
        self.files: dict[str, bytes] = {}
        self.commands: list[str] = []

    async def run(
        self, command: str, *, timeout: float, env: Mapping[str, str] | None = None, cwd: str = TESTBED
    ) -> Result:
        self.commands.append(command)
        return self._answer(command)

    async def put(self, path: str, content: bytes) -> None:
        self.files[path] = content

    async def get(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]


class FakePool:
    """Counts claims and how many were held at once."""

    def __init__(self, answer: Callable[[str], Result] = lambda _: Result("", 0)) -> None:
        self._answer = answer
        self.claims = 0
        self.held = 0
        self.most_held = 0

    def claim(self, start: StartTree) -> AbstractAsyncContextManager[Sandbox]:
        return self._claim()

    @contextlib.asynccontextmanager
    async def _claim(self) -> AsyncIterator[Sandbox]:
        self.claims += 1
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        try:
            yield FakeSandbox(self._answer)
        finally:
            self.held -= 1
