"""Mining speed: first-parent changes a second, listed with the tier in which each reverses, beside `git log` alone.

python benchmarks/mining.py REPOSITORY [--until YYYY-MM-DD] [--jobs 2]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import time
from collections import Counter
from pathlib import Path

from repoexpert.repository.candidates import list_candidates
from repoexpert.repository.git import environment, git_text


def main() -> None:
    """Print one line for the bound and one for us."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--until", default="2100-01-01")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    place = arguments.repository
    git_dir = place / ".git" if (place / ".git").exists() else place
    commit = git_text(git_dir, "rev-list", "-1", "--first-parent", f"--before={arguments.until}", "HEAD").strip()
    commits = int(git_text(git_dir, "rev-list", "--count", "--first-parent", commit))
    reached = int(git_text(git_dir, "rev-list", "--count", commit))
    bound = _timed_log(git_dir, commit)
    started, spent = time.perf_counter(), _processor_seconds()
    listed = list_candidates(git_dir, commit, jobs=arguments.jobs)
    ours, spent = time.perf_counter() - started, _processor_seconds() - spent
    tiers = ", ".join(f"{n} {tier or 'symbols at most'}" for tier, n in Counter(x.tier for x in listed).most_common())
    print(f"{commits} first-parent commits ({reached} in all), {len(listed)} candidate changes: {tiers}")
    print(f"bound   git log --first-parent -m -p -- '*.py'   {bound:7.1f} s {commits / bound:8.0f} commits/s")
    print(
        f"ours    {arguments.jobs} processes, tiers included            {ours:7.1f} s {commits / ours:8.0f} commits/s"
    )
    print(f"        {spent:.1f} s of processor time: {spent / arguments.jobs:.1f} s on {arguments.jobs} idle cores")


def _processor_seconds() -> float:
    """Used so far by this process and its finished children: unlike wall time, untouched by other load."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _timed_log(git_dir: Path, commit: str) -> float:
    started = time.perf_counter()
    command = ["git", f"--git-dir={git_dir}", "log", "--first-parent", "-m", "-p", "-M", commit, "--", "*.py"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment())
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
