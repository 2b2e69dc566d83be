"""A small library with a real Git history, made on the spot: fixes and features, merges and squashes, before and after a cutoff."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

CUTOFF = "2024-03-31"
_FIRST = datetime(2024, 1, 8, 12, tzinfo=UTC)
_AFTER_CUTOFF = datetime(2024, 4, 8, 12, tzinfo=UTC)

_PYPROJECT = """\
    [build-system]
    requires = ["setuptools>=61"]
    build-backend = "setuptools.build_meta"

    [project]
    name = "ledger"
    version = "1.0"
    requires-python = ">=3.8"

    [tool.setuptools]
    packages = ["ledger"]
"""

# One row a function: name, the source with its fault, the mended source, its test, the message of the fix.
_FIXES = (
    (
        "total",
        "def total(entries):\n    return sum(entries[1:])\n",
        "def total(entries):\n    return sum(entries)\n",
        "def test_total_counts_every_entry():\n    assert amounts.total([2, 3, 4]) == 9\n",
        "Merge pull request #{n} from someone/total\n\nCount the first entry as well when adding up a ledger",
    ),
    (
        "mean",
        "def mean(entries):\n    return sum(entries) / len(entries)\n",
        "def mean(entries):\n    if not entries:\n        return 0.0\n    return sum(entries) / len(entries)\n",
        "def test_mean_of_nothing_is_zero():\n    assert amounts.mean([]) == 0.0\n",
        "Give zero as the mean of an empty ledger instead of dividing by zero (#{n})",
    ),
    (
        "largest",
        "def largest(entries, default=None):\n    return max(entries)\n",
        "def largest(entries, default=None):\n    return max(entries, default=default)\n",
        "def test_largest_falls_back_on_its_default():\n    assert amounts.largest([], default=7) == 7\n",
        "Honour the default of largest for an empty ledger (#{n})",
    ),
    (
        "running",
        "def running(entries):\n    result, balance = [], 0\n    for entry in entries:\n        result.append(balance)\n        balance += entry\n    return result\n",
        "def running(entries):\n    result, balance = [], 0\n    for entry in entries:\n        balance += entry\n        result.append(balance)\n    return result\n",
        "def test_running_balance_includes_the_entry_itself():\n    assert amounts.running([1, 2, 3]) == [1, 3, 6]\n",
        "Include each entry in its own running balance",
    ),
    (
        "negatives",
        "def negatives(entries):\n    return [e for e in entries if e <= 0]\n",
        "def negatives(entries):\n    return [e for e in entries if e < 0]\n",
        "def test_zero_is_not_negative():\n    assert amounts.negatives([-1, 0, 2]) == [-1]\n",
        "Do not report zero as a negative entry (#{n})",
    ),
    (
        "label",
        "def label(amount, currency='EUR'):\n    return f'{amount} {currency}'\n",
        "def label(amount, currency='EUR'):\n    return f'{amount:.2f} {currency}'\n",
        "def test_label_shows_two_decimals():\n    assert amounts.label(3) == '3.00 EUR'\n",
        "Merge pull request #{n} from someone/decimals\n\nShow two decimals in labels",
    ),
    (
        "parse",
        "def parse(text):\n    return float(text)\n",
        "def parse(text):\n    return float(text.replace(',', ''))\n",
        "def test_parse_reads_thousands_separators():\n    assert amounts.parse('1,250.5') == 1250.5\n",
        "Read amounts with thousands separators (#{n})",
    ),
    (
        "split",
        "def split(amount, parts):\n    return [amount // parts] * parts\n",
        "def split(amount, parts):\n    share, rest = divmod(amount, parts)\n    return [share + 1] * rest + [share] * (parts - rest)\n",
        "def test_split_loses_nothing():\n    assert split_sum() == 100\n\n\ndef split_sum():\n    return sum(amounts.split(100, 3))\n",
        "Distribute the remainder when an amount is split (#{n})",
    ),
)


@dataclass(frozen=True)
class Library:
    """A repository made by `make_library`."""

    path: Path
    cutoff: str
    fixes_before_cutoff: int
    fixes_after_cutoff: int

    @property
    def url(self) -> str:
        return f"file://{self.path}"


def _git(path: Path, *arguments: str, when: datetime) -> None:
    stamp = when.strftime("%Y-%m-%dT%H:%M:%S+0000")
    environment = os.environ | {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp, "GIT_CONFIG_GLOBAL": os.devnull}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.org"}
    subprocess.run(["git", *arguments], cwd=path, env=environment, check=True, capture_output=True)


def _write(path: Path, mended: set[str]) -> None:
    sources = [fixed if name in mended else faulty for name, faulty, fixed, _, _ in _FIXES]
    (path / "ledger/amounts.py").write_text('"""Amounts of a ledger."""\n\n\n' + "\n\n".join(sources))
    tests = ["def test_label_names_the_currency():\n    assert amounts.label(1).endswith('EUR')\n"]
    tests += [test for name, _, _, test, _ in _FIXES if name in mended]
    (path / "tests/test_amounts.py").write_text("from ledger import amounts\n\n\n" + "\n\n".join(tests))


def make_library(path: Path, *, after_cutoff: int = 3) -> Library:
    """Write the repository to `path`: a first commit, then one fix a week, the last `after_cutoff` of them after the cutoff."""
    for folder in ("ledger", "tests"):
        (path / folder).mkdir(parents=True)
    (path / "pyproject.toml").write_text(dedent(_PYPROJECT))
    (path / "ledger/__init__.py").write_text('"""A small ledger."""\n')
    (path / "README.md").write_text("# ledger\n\nA small ledger.\n")
    _write(path, set())
    _git(path, "init", "-q", "-b", "main", when=_FIRST)
    _git(path, "add", "-A", when=_FIRST)
    _git(path, "commit", "-qm", "First version", when=_FIRST)
    before = len(_FIXES) - after_cutoff
    for number, (name, _, _, _, message) in enumerate(_FIXES):
        weeks = timedelta(weeks=number + 1 if number < before else number - before)
        when = (_FIRST if number < before else _AFTER_CUTOFF) + weeks
        mended = {row[0] for row in _FIXES[: number + 1]}
        text = message.format(n=number + 10)
        if text.startswith("Merge pull request"):
            _git(path, "checkout", "-qb", name, when=when)
            _write(path, mended)
            _git(path, "commit", "-qam", f"work on {name}", when=when)
            _git(path, "checkout", "-q", "main", when=when)
            _git(path, "merge", "-q", "--no-ff", "-m", text, name, when=when)
        else:
            _write(path, mended)
            _git(path, "commit", "-qam", text, when=when)
    return Library(path=path, cutoff=CUTOFF, fixes_before_cutoff=before, fixes_after_cutoff=after_cutoff)
