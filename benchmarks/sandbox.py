"""Sandbox: claim to first output, and what bubblewrap adds to a command against a plain child process.

Bound: at most 10 ms added a command. Run: python -m benchmarks.sandbox
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from repoexpert.sandbox.bubblewrap import BubblewrapPool
from repoexpert.sandbox.protocol import Limits, Sandbox, StartTree

COMMANDS = 200
CLAIMS = 30
MOST_ADDED_MS = 10.0


def make_tree(folder: Path, files: int = 120) -> Path:
    """A tar of a small library: `files` modules of 60 lines."""
    source = folder / "source"
    for number in range(files):
        path = source / f"pkg{number % 8}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"def function_{number}_{line}():\n    return {line}\n" for line in range(30)))
    subprocess.run(["tar", "-cf", str(folder / "tree.tar"), "-C", str(source), "."], check=True)
    return folder / "tree.tar"


async def timed(work: Callable[[], Awaitable[object]], times: int) -> tuple[float, float, float]:
    """Median and 95th percentile in milliseconds, and processor time a call (this process and its children)."""
    taken = []
    used = processor_seconds()
    for _ in range(times):
        started = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - started) * 1000)
    used = (processor_seconds() - used) * 1000 / times
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1], used


def processor_seconds() -> float:
    """Processor time of this process and the children it has waited for; tells cost from other load's queueing."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


async def plain() -> None:
    """The rival: the same command as an ordinary child process, output read."""
    process = await asyncio.create_subprocess_exec(
        "/bin/bash", "-c", "echo hello", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    await process.communicate()


async def measure(folder: Path) -> bool:
    start = StartTree(make_tree(folder))
    async with BubblewrapPool(None, None, Path(sys.base_prefix), Limits(), folder / "scratch") as pool:

        async def claim_to_output() -> None:
            async with pool.claim(start) as box:
                await box.run("echo hello", timeout=10)

        claim = await timed(claim_to_output, CLAIMS)
        async with pool.claim(start) as box:
            rows = {"plain child process": await timed(plain, COMMANDS), "in the sandbox": await in_box(box)}
            side_by_side = await throughput(lambda: box.run("echo hello", timeout=10))
        plain_rate = await throughput(plain)
        print(
            f"limits by {pool.bounded_by}; 120 files, 3,600 lines; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )
    for name, (median, high, used) in {"claim to first output": claim, **rows}.items():
        print(f"{name:26s} median {median:7.1f} ms   p95 {high:7.1f} ms   processor {used:6.1f} ms")
    print(f"commands/s, 8 at a time    sandbox {side_by_side:.0f}, plain {plain_rate:.0f}")
    added = rows["in the sandbox"][0] - rows["plain child process"][0]
    print(f"added to a command         {added:.1f} ms (bound: {MOST_ADDED_MS:.0f} ms)")
    return added <= MOST_ADDED_MS


async def in_box(box: Sandbox) -> tuple[float, float, float]:
    return await timed(lambda: box.run("echo hello", timeout=10), COMMANDS)


async def throughput(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    for _ in range(COMMANDS // 8):
        await asyncio.gather(*(work() for _ in range(8)))
    return COMMANDS / (time.perf_counter() - started)


def main() -> int:
    """Print the figures; exit code 1 when the bound is missed."""
    with tempfile.TemporaryDirectory() as folder:
        return 0 if asyncio.run(measure(Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
