"""Task records for tests of what reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from repoexpert.experience.tasks import Proof, Provenance, Task, Verification

REFERENCE = """\
diff --git a/lib.py b/lib.py
--- a/lib.py
+++ b/lib.py
@@ -1,2 +1,2 @@
 def answer(x):
-    return x
+    return x + 1
"""
BREAK = """\
diff --git a/lib.py b/lib.py
--- a/lib.py
+++ b/lib.py
@@ -1,2 +1,2 @@
 def answer(x):
-    return x + 1
+    return x
"""


def make_task(number: int = 1, unit: str = "evolutionaryReplay", **changes: Any) -> Task:
    """Task `number`: `answer` in `lib.py` lost its `+ 1`."""
    values: dict[str, Any] = {
        "id": f"replay-{number:012d}",
        "unit": unit,
        "repository": "https://example.org/lib",
        "commit": "c" * 40,
        "start_patch": BREAK,
        "statement": f"answer() is off by one (report {number})",
        "verification": Verification(fail_to_pass=("test_lib.py::test_answer",)),
        "reference": REFERENCE,
        "provenance": Provenance(
            commits=("f" * 40,),
            committed=datetime(2024, 1, 1, tzinfo=UTC),
            tier="exact",
            files=("lib.py",),
            symbols=("lib.py::answer",),
        ),
        "proof": Proof(reference_runs=2, start_runs=2),
    }
    return Task.model_validate({**values, **changes})
