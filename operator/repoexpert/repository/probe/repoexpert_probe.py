"""Pytest plugin that runs inside the target repository's environment: Python 3.8 and pytest 5 or newer, no dependency.

Loaded with `-p repoexpert_probe` by testing.py, which reads what it leaves in the folder `REPOEXPERT_PROBE`:
    plan.json       read: {"tests": [...] or null, "skip": [...], "seed": int or null, "seconds": number, "coverage": bool}
    stream.jsonl    written: one event a line, flushed at once, so that a killed run still tells what it did
    coverage.json   written when asked for: {"functions": [...], "tests": {id: [index, ...]}}
"""

# Plain os calls; files stay open for the whole session; the order of tests is no secret.
# ruff: noqa: PTH100, PTH109, PTH118, PTH119, PTH120, PTH123, ARG001, S311
import ast
import faulthandler
import json
import os
import random
import signal
import sys
import threading

import pytest

FOLDER = os.environ.get("REPOEXPERT_PROBE", "")
MESSAGE = 2000
# A test hung in C code never sees the signal: a watchdog thread ends the whole process this much later.
GRACE = 5.0
EXIT_GRACE = 10.0


class Probe:
    def __init__(self, plan):
        self.tests = None if plan["tests"] is None else frozenset(plan["tests"])
        self.skip = frozenset(plan["skip"])
        self.seed = plan["seed"]
        self.seconds = plan["seconds"]
        self.coverage = Coverage() if plan["coverage"] else None
        self.pid = os.getpid()
        self.timed_out = None
        # Plain descriptors: they stay open to the very end without a warning that a strict suite would trip over.
        self.trace = os.open(os.path.join(FOLDER, "trace.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.stream = os.open(os.path.join(FOLDER, "stream.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(self, **event):
        # A forked child of a test must not write into its parent's stream.
        if os.getpid() == self.pid:
            line = (json.dumps(event) + "\n").encode()
            while line:
                line = line[os.write(self.stream, line) :]

    # Time limits

    def arm(self, what):
        if self.seconds <= 0 or not hasattr(signal, "setitimer") or not in_main_thread():
            return None

        def expired(number, frame):
            # Raised again each second: the code under test may swallow it once.
            self.timed_out = what
            pytest.fail("timeout: ran longer than %g s" % self.seconds, pytrace=False)

        previous = signal.signal(signal.SIGALRM, expired)
        signal.setitimer(signal.ITIMER_REAL, self.seconds, 1.0)
        faulthandler.dump_traceback_later(self.seconds + GRACE, exit=True, file=self.trace)
        return previous if previous is not None else signal.SIG_DFL

    def disarm(self, previous):
        if previous is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
            signal.signal(signal.SIGALRM, previous)

    # Collection

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector):
        armed = self.arm(collector.nodeid)
        try:
            outcome = yield
        finally:
            self.disarm(armed)
        report = outcome.get_result()
        call = getattr(report, "call", None)
        if report.failed or report.skipped:
            excinfo = getattr(call, "excinfo", None)
            self.tell(
                event="collect",
                id=collector.nodeid,
                outcome=report.outcome,
                type=error_type(excinfo, self.timed_out == collector.nodeid),
                message=error_message(excinfo, report),
            )

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        kept, dropped = [], []
        for item in items:
            wanted = (self.tests is None or item.nodeid in self.tests) and item.nodeid not in self.skip
            (kept if wanted else dropped).append(item)
        if self.seed is not None:
            kept = shuffled(kept, random.Random(self.seed))
        if dropped:
            config.hook.pytest_deselected(items=dropped)
        items[:] = kept
        self.tell(event="collected", ids=[item.nodeid for item in kept], dropped=len(dropped))

    # Tests

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        self.tell(event="start", id=item.nodeid)
        item.user_properties.append(("repoexpert_id", json.dumps(item.nodeid)))
        if self.coverage:
            self.coverage.enter(item)
        armed = self.arm(item.nodeid)
        try:
            yield
        finally:
            self.disarm(armed)
            if self.coverage:
                self.coverage.leave()
        self.tell(event="finish", id=item.nodeid)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        outcome = yield
        report = outcome.get_result()
        event = {"event": "report", "id": item.nodeid, "phase": report.when, "seconds": round(report.duration, 6)}
        event["outcome"] = phase_outcome(report)
        if report.failed:
            event["type"] = error_type(call.excinfo, self.timed_out == item.nodeid)
            event["message"] = error_message(call.excinfo, report)
        self.tell(**event)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        if self.coverage:
            self.coverage.save(os.path.join(FOLDER, "coverage.json"))
        self.tell(event="end", status=int(exitstatus))

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config):
        # A thread that the tests left running must not keep the process for ever.
        faulthandler.dump_traceback_later(EXIT_GRACE, exit=True, file=self.trace)


class Coverage:
    """Which functions of the repository each test executed, by coverage.py's dynamic contexts."""

    def __init__(self):
        if "coverage" not in sys.modules:
            place = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib")
            sys.path.insert(0, place)
            try:
                import coverage
            finally:
                sys.path.remove(place)
        else:
            coverage = sys.modules["coverage"]
        self.root = os.getcwd()
        self.modules = set()
        self.tracer = coverage.Coverage(data_file=None, config_file=False, source=[self.root], messages=False)
        self.tracer.start()

    def enter(self, item):
        self.modules.add(os.path.realpath(str(getattr(item, "path", None) or item.fspath)))
        self.tracer.switch_context(item.nodeid)

    def leave(self):
        self.tracer.switch_context("")

    def save(self, path):
        self.tracer.stop()
        data = self.tracer.get_data()
        functions, tests = [], {}
        for file in sorted(data.measured_files()):
            real = os.path.realpath(file)
            if real in self.modules or os.path.basename(real) == "conftest.py":
                continue
            owners = functions_by_line(real)
            indices = {}
            for line, contexts in data.contexts_by_lineno(file).items():
                name = owners.get(line)
                contexts = [context for context in contexts if context]
                if name is None or not contexts:
                    continue
                if name not in indices:
                    indices[name] = len(functions)
                    functions.append(os.path.relpath(real, self.root).replace(os.sep, "/") + "::" + name)
                for context in contexts:
                    tests.setdefault(context, set()).add(indices[name])
        order = sorted(range(len(functions)), key=functions.__getitem__)
        place = {old: new for new, old in enumerate(order)}
        body = {
            "functions": [functions[old] for old in order],
            "tests": {test: sorted(place[index] for index in tests[test]) for test in sorted(tests)},
        }
        with open(path, "w") as file:
            json.dump(body, file)


def functions_by_line(path):
    """Line to the qualified name of the innermost function whose body holds it; empty when the file is not Python."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return {}
    owners = {}

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                name = prefix + child.name
                last = max(getattr(statement, "end_lineno", statement.lineno) for statement in child.body)
                for line in range(child.body[0].lineno, last + 1):
                    owners[line] = name
                visit(child, name + ".")
            elif isinstance(child, ast.ClassDef):
                visit(child, prefix + child.name + ".")
            else:
                visit(child, prefix)

    visit(tree, "")
    return owners


def shuffled(items, rng):
    """Files in random order, classes within a file, tests within a class: state leaks show, fixtures stay shared."""
    files = {}
    for item in items:
        file, _, rest = item.nodeid.partition("::")
        group = rest.rpartition("::")[0] if "[" not in rest else rest.partition("[")[0].rpartition("::")[0]
        files.setdefault(file, {}).setdefault(group, []).append(item)
    result = []
    for file in rng.sample(sorted(files), len(files)):
        for group in rng.sample(sorted(files[file]), len(files[file])):
            result.extend(rng.sample(files[file][group], len(files[file][group])))
    return result


def phase_outcome(report):
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else report.outcome
    return report.outcome


def error_type(excinfo, timed_out):
    if timed_out:
        return "Timeout"
    return type(raised(excinfo)).__name__ if excinfo is not None else ""


def error_message(excinfo, report):
    """What the exception says; `exconly` keeps pytest's explanation of a failed assertion."""
    try:
        if excinfo is None:
            text = str(report.longrepr)
        elif raised(excinfo) is excinfo.value:
            text = excinfo.exconly()
        else:
            text = "%s: %s" % (type(raised(excinfo)).__name__, raised(excinfo))
    except Exception as e:  # the exception's own __str__ may fail
        text = "unprintable error: %s" % type(e).__name__
    return text.strip()[:MESSAGE]


def raised(excinfo):
    """The exception itself: pytest wraps what the import of a test file raised."""
    inner = excinfo.value.__cause__ or excinfo.value.__context__
    return inner if excinfo.type.__name__ == "CollectError" and inner is not None else excinfo.value


def in_main_thread():
    return threading.current_thread() is threading.main_thread()


def pytest_configure(config):
    if not FOLDER or hasattr(config, "workerinput"):
        return
    with open(os.path.join(FOLDER, "plan.json")) as file:
        plan = json.load(file)
    config.pluginmanager.register(Probe(plan), "repoexpert_probe_session")
