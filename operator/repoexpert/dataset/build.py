"""From attempts to training rows: the filters in order, each loss counted. Pure but for reading trajectories.

Called by the dataset stage and the benchmark. Order matters: cheap verdicts first, then what needs the text, then what
compares trajectories with each other.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from repoexpert.dataset.encoding import Encoded, Tokenizer, encode_batch
from repoexpert.dataset.shingles import Reserved, near_duplicates, shingles
from repoexpert.dataset.split import choose_heldout
from repoexpert.dataset.trajectories import Attempt, Conversation, read_conversation
from repoexpert.errors import StageFailed
from repoexpert.experience.tasks import Task
from repoexpert.rollout.records import AttemptResult

FILTERS = (
    "notVerified",
    "notSubmitted",
    "suspicious",
    "nothingToTrain",
    "looping",
    "tooLong",
    "contaminated",
    "nearDuplicate",
    "overTaskLimit",
    "overQuota",
)
"""Why an attempt did not become a row, in the order the filters run."""

_LOOP_SHARE = 0.5
_BATCH = 64


@dataclass(frozen=True)
class Options:
    """What the filters need to know."""

    template: str
    max_length: int
    """Tokens; longer conversations are left out, never cut."""
    quotas: Mapping[str, int]
    """Unit to trajectories wanted; a unit that is absent has no upper limit."""
    per_task: int = 2
    seed: int = 42
    reserved: Reserved = field(default_factory=Reserved)


@dataclass(frozen=True)
class Row:
    """One trajectory that passed."""

    attempt: AttemptResult
    conversation: Conversation
    tokens: int
    trained_tokens: int

    @property
    def id(self) -> str:
        return f"{self.attempt.task}/{self.attempt.attempt}"

    @property
    def unit(self) -> str:
        return self.attempt.unit

    def record(self) -> dict[str, Any]:
        """The JSONL row in ms-swift's `messages` format."""
        return {"messages": self.conversation.messages(), "id": self.id, "unit": self.unit}


@dataclass(frozen=True)
class Built:
    """Rows on both sides of the split, and what every filter cost."""

    train: tuple[Row, ...]
    heldout: tuple[Row, ...]
    attempts: Mapping[str, int]
    """Unit to attempts read."""
    lost: Mapping[str, Mapping[str, int]]
    """Unit to filter to attempts lost."""


def build(
    attempts: Iterable[Attempt],
    tasks: Sequence[Task],
    tokenizer: Tokenizer,
    options: Options,
    on_read: Callable[[int], None] = lambda _: None,
) -> Built:
    """Run every filter over `attempts`, split what is left, shuffle the training side by `options.seed`."""
    by_id = {task.id: task for task in tasks}
    read: Counter[str] = Counter()
    lost: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def lose(unit: str, name: str) -> None:
        lost[unit][name] += 1

    def counted() -> Iterator[Attempt]:
        for done, attempt in enumerate(attempts, 1):
            read[attempt.result.unit] += 1
            on_read(done)
            yield attempt

    rows = list(_encoded(_conversations(counted(), lose), tokenizer, options, lose))
    if unknown := sorted({row.attempt.task for row in rows} - by_id.keys()):
        raise StageFailed(
            f"{len(unknown)} attempted tasks are not among the tasks given ({unknown[0]}, ...): the rollout belongs to "
            "other tasks; remove its artifact and run again"
        )
    rows = _uncontaminated(rows, by_id, options.reserved, lose)
    rows = _distinct(rows, lose)
    rows = _limited(rows, options, lose)
    heldout = choose_heldout({row.id: row.attempt.task for row in rows}, [by_id[row.attempt.task] for row in rows])
    return Built(
        train=tuple(
            sorted((row for row in rows if row.id not in heldout), key=lambda row: _shuffled(row, options.seed))
        ),
        heldout=tuple(sorted((row for row in rows if row.id in heldout), key=lambda row: row.id)),
        attempts=dict(sorted(read.items())),
        lost={unit: {name: lost[unit][name] for name in FILTERS if lost[unit][name]} for unit in sorted(read)},
    )


_Lose = Callable[[str, str], None]


def verdict(result: AttemptResult) -> str | None:
    """The filter that the attempt's own record fails; None when it passes."""
    if result.outcome == "not-submitted":
        return "notSubmitted"
    if result.outcome != "verified":
        return "notVerified"
    return "suspicious" if result.suspicious else None


def _conversations(attempts: Iterable[Attempt], lose: _Lose) -> Iterator[tuple[AttemptResult, Conversation]]:
    for attempt in attempts:
        if failed := verdict(attempt.result):
            lose(attempt.result.unit, failed)
            continue
        conversation = read_conversation(attempt)
        if conversation is None:
            lose(attempt.result.unit, "nothingToTrain")
        elif conversation.loop_turns > _LOOP_SHARE * conversation.assistant_turns:
            lose(attempt.result.unit, "looping")
        else:
            yield attempt.result, conversation


def _encoded(
    pairs: Iterable[tuple[AttemptResult, Conversation]], tokenizer: Tokenizer, options: Options, lose: _Lose
) -> Iterator[Row]:
    waiting: list[tuple[AttemptResult, Conversation]] = []

    def flush() -> Iterator[Row]:
        encoded = encode_batch([one.messages() for _, one in waiting], options.template, tokenizer)
        for (result, conversation), tokens in zip(waiting, encoded, strict=True):
            row = _row(result, conversation, tokens, options.max_length)
            if row is None:
                lose(result.unit, "tooLong")
            else:
                yield row
        waiting.clear()

    for pair in pairs:
        waiting.append(pair)
        if len(waiting) == _BATCH:
            yield from flush()
    yield from flush()


def _row(result: AttemptResult, conversation: Conversation, encoded: Encoded, max_length: int) -> Row | None:
    if len(encoded.ids) > max_length:
        return None
    return Row(result, conversation, tokens=len(encoded.ids), trained_tokens=encoded.trained)


def _uncontaminated(rows: list[Row], tasks: Mapping[str, Task], reserved: Reserved, lose: _Lose) -> list[Row]:
    if not reserved:
        return rows
    verdicts = {
        identity: reserved.reason([task.id], [task.reference], [task.statement, task.reference])
        for identity in sorted({row.attempt.task for row in rows})
        for task in [tasks[identity]]
    }
    return _kept(rows, lambda row: verdicts[row.attempt.task] is None, "contaminated", lose)


def _distinct(rows: list[Row], lose: _Lose) -> list[Row]:
    """Of trajectories that are nearly the same the best one stays."""
    ranked = sorted(rows, key=_rank)
    alike = near_duplicates([shingles(row.conversation.text) for row in ranked])
    dropped = {ranked[position].id for position in alike}
    return _kept(rows, lambda row: row.id not in dropped, "nearDuplicate", lose)


def _limited(rows: list[Row], options: Options, lose: _Lose) -> list[Row]:
    per_task: defaultdict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=_rank):
        per_task[row.attempt.task].append(row)
    within = {row.id for group in per_task.values() for row in group[: options.per_task]}
    rows = _kept(rows, lambda row: row.id in within, "overTaskLimit", lose)
    chosen: set[str] = set()
    for unit in sorted({row.unit for row in rows}):
        mine = [row for row in rows if row.unit == unit]
        chosen.update(row.id for row in sorted(mine, key=lambda row: _turn(row, per_task))[: options.quotas.get(unit)])
    return _kept(rows, lambda row: row.id in chosen, "overQuota", lose)


def _turn(row: Row, per_task: Mapping[str, Sequence[Row]]) -> tuple[int, str]:
    """Quotas take every task's best trajectory before any task's second, in an order without meaning."""
    return per_task[row.attempt.task].index(row), hashlib.sha256(row.id.encode()).hexdigest()


def _kept(rows: list[Row], keep: Callable[[Row], bool], name: str, lose: _Lose) -> list[Row]:
    kept = []
    for row in rows:
        if keep(row):
            kept.append(row)
        else:
            lose(row.unit, name)
    return kept


def _rank(row: Row) -> tuple[int, int, str, int]:
    """Best first: fewest masked turns, then shortest."""
    masked = row.conversation.loop_turns + row.conversation.format_error_turns
    return masked, row.tokens, row.attempt.task, row.attempt.attempt


def _shuffled(row: Row, seed: int) -> str:
    """A seeded order that is the same on every Python version."""
    return hashlib.sha256(f"{seed}:{row.id}".encode()).hexdigest()
