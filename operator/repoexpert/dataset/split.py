"""Which trajectories are held out: the newest bugs, whole, so that held-out NLL is about work the student never saw.

Pure. Called by `build` after every filter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from repoexpert.experience.tasks import Task

SHARE = 0.15
MINIMUM = 4
_LARGEST_SHARE = 0.5
"""Training keeps at least the other half, whatever MINIMUM asks."""


def group_tasks(tasks: Sequence[Task]) -> dict[str, str]:
    """Task id to its group's name. One group: the same bug, in one unit or two, or parts of a commit that overlap.

    Two tasks belong together when they start from the same patch or have the same reference, or come from one commit
    and name the same part or change the same symbol (the same file where no symbols are known).
    """
    parent = {task.id: task.id for task in tasks}

    def root(task: str) -> str:
        while parent[task] != task:
            parent[task] = parent[parent[task]]
            task = parent[task]
        return task

    owner: dict[tuple[str, ...], str] = {}
    for task in sorted(tasks, key=lambda task: task.id):
        for key in _shared_keys(task):
            first, second = root(owner.setdefault(key, task.id)), root(task.id)
            parent[max(first, second)] = min(first, second)
    return {task.id: root(task.id) for task in tasks}


def _shared_keys(task: Task) -> list[tuple[str, ...]]:
    origin = task.provenance
    keys: list[tuple[str, ...]] = []
    if task.start_patch.strip():
        keys.append(("start", task.start_patch))
    if task.verification.fix_patch.strip():
        keys.append(("fix", task.verification.fix_patch))
    if task.unit != "semanticRuntimeAlignment" and task.reference.strip():
        keys.append(("fix", task.reference))
    for commit in origin.commits:
        keys.append(("part", commit, origin.part))
        keys += [("symbol", commit, symbol) for symbol in origin.symbols]
        if not origin.symbols:
            keys += [("file", commit, file) for file in origin.files]
    return keys


def choose_heldout(
    trajectories: Mapping[str, str], tasks: Sequence[Task], *, share: float = SHARE, minimum: int = MINIMUM
) -> frozenset[str]:
    """Ids of the held-out trajectories among `trajectories` (trajectory id to task id).

    Newest group first until `share` of them and at least `minimum` are held out; a group that would leave less than
    half for training is passed over.
    """
    groups = group_tasks(tasks)
    by_group: dict[str, list[str]] = {}
    for trajectory, task in sorted(trajectories.items()):
        by_group.setdefault(groups[task], []).append(trajectory)
    newest: dict[str, float] = {}
    for one in tasks:
        group, date = groups[one.id], one.provenance.committed.timestamp()
        newest[group] = max(date, newest.get(group, date))
    wanted = max(minimum, round(share * len(trajectories)))
    most = int(_LARGEST_SHARE * len(trajectories))
    chosen: list[str] = []
    for group in sorted(by_group, key=lambda group: (-newest[group], group)):
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(by_group[group]) <= most:
            chosen += by_group[group]
    return frozenset(chosen)
