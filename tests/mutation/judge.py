"""The judge of the mutants: a pytest plugin that collects the suite once, and forks for each mutant.

A mutant is the code of one function, which is put into that function in the forked process: no file is
written, nothing is imported again, and a mutant costs some milliseconds and the tests up to the first that
fails. Only tests that run the mutated statement are run, those first that killed another mutant of the same
function. What no test notices goes through some programs of the model test.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Literal, TypeAlias

import pytest
from _pytest.runner import runtestprotocol
from cosmic_ray.exceptions import CosmicRayTestingException
from hypothesis import HealthCheck, Phase, given, settings

import interloop
from model.programs import Block, programs
from model.runs import Differs, check

from .mutants import Mutant

Line: TypeAlias = tuple[str, int]  # of a file

FORK = get_context("fork")
SPINS_AFTER = 10  # seconds of a processor, for a test; they take milliseconds
HANGS_AFTER = 40  # seconds, on a machine that has other things to do
MODEL_PROGRAMS = 100
MODEL_HANGS_AFTER = 120  # seconds
MEMORY = 4 << 30  # bytes, for a mutant that creates without end


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: which test killed it, if one did, and how many had passed before."""

    mutant: Mutant
    killed_by: str | None
    passed: int
    tests: int


def module_name(file: Path) -> str:
    """The name by which a file of the package is imported."""
    path = file.relative_to(Path(interloop.__file__).parent.parent).with_suffix("")
    return ".".join(part for part in path.parts if part != "__init__")


class Judge:
    """Runs the tests on each mutant, in as many processes at once as there are processors."""

    def __init__(self, mutants: list[Mutant], on_verdict: Callable[[Verdict], None], *, model: bool) -> None:
        self._mutants = mutants
        self._model = model
        self._on_verdict = on_verdict
        self._modules = {file: import_module(module_name(file)) for file in {m.file for m in mutants}}
        self._killers: dict[tuple[Path, str], list[str]] = defaultdict(list)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        watched = self._watch(items)
        for mutant, verdict in _forked(self._cases(items, watched)):
            key = mutant.file, mutant.function
            if verdict.killed_by in items and verdict.killed_by not in self._killers[key]:
                self._killers[key].insert(0, verdict.killed_by)
            self._on_verdict(verdict)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport:
        """Without the traceback, which nobody reads: that of a full stack takes minutes."""
        outcome: Literal["passed", "skipped", "failed"] = "passed"
        if call.excinfo is not None:
            outcome = "skipped" if call.excinfo.errisinstance(pytest.skip.Exception) else "failed"
        return pytest.TestReport(item.nodeid, item.location, {}, outcome, None, call.when)

    def _watch(self, items: dict[str, pytest.Item]) -> dict[str, Watched]:
        codes = [code for module in self._modules.values() for _, code in _functions(module)]
        parts = os.cpu_count() or 1
        ids = list(items)
        jobs = [
            (part, lambda part=part: _watch([items[i] for i in ids[part::parts]], codes))
            for part in range(parts)
        ]
        watched: dict[str, Watched] = {}
        for _, part in _forked(iter(jobs)):
            watched |= part
        if failed := [test for test, seen in watched.items() if not seen.passed]:
            raise pytest.UsageError(f"fails without any mutation: {', '.join(failed)}")
        return watched

    def _cases(
        self, items: dict[str, pytest.Item], watched: dict[str, Watched]
    ) -> Iterator[tuple[Mutant, Callable[[], Verdict]]]:
        tests_of: dict[Line, list[str]] = defaultdict(list)
        for test, seen in watched.items():
            for line in seen.lines:
                tests_of[line].append(test)
        for mutant in self._mutants:
            module = self._modules[mutant.file]
            killers = self._killers[mutant.file, mutant.function]

            def first_of_all(test: str, killers: list[str] = killers) -> tuple[int, float]:
                return (killers.index(test) if test in killers else len(killers)), watched[test].seconds

            tests = {test for line in mutant.statement for test in tests_of[str(mutant.file), line]}
            if not tests:  # a default of a parameter, or a constant condition: Python has no line for these
                code = dict(_functions(module))[mutant.function]
                tests = {test for line in _lines(code) for test in tests_of[line]}
            tests = sorted(tests, key=first_of_all) if hasattr(sys, "monitoring") else list(items)
            yield (
                mutant,
                lambda m=mutant, n=module, t=tests: _judge(m, n, [items[test] for test in t], self._model),
            )


@dataclass(frozen=True)
class Watched:
    """A test without any mutation: how long it takes, and which lines it runs."""

    passed: bool
    seconds: float
    lines: frozenset[Line]


def _watch(items: list[pytest.Item], codes: list[CodeType]) -> dict[str, Watched]:
    lines: set[Line] = set()
    watch = getattr(sys, "monitoring", None)  # from 3.12 on; before, all tests are run on each mutant

    def note(code: CodeType, line: int) -> object:
        lines.add((code.co_filename, line))
        return watch.DISABLE

    if watch:
        watch.use_tool_id(watch.COVERAGE_ID, "mutation")
        watch.register_callback(watch.COVERAGE_ID, watch.events.LINE, note)
        for code in codes:
            for each in _with_inner(code):
                watch.set_local_events(watch.COVERAGE_ID, each, watch.events.LINE)
    watched = {}
    for item in items:
        lines.clear()
        if watch:
            watch.restart_events()
        began = time.perf_counter()
        passed = _passes(item)
        if not passed and watch:  # `note` may have come where the stack was full
            watch.register_callback(watch.COVERAGE_ID, watch.events.LINE, None)
            passed = _passes(item)
            watch.register_callback(watch.COVERAGE_ID, watch.events.LINE, note)
        watched[item.nodeid] = Watched(passed, time.perf_counter() - began, frozenset(lines))
    return watched


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)


def _lines(code: CodeType) -> set[Line]:
    return {(each.co_filename, line) for each in _with_inner(code) for *_, line in each.co_lines() if line}


def _judge(mutant: Mutant, module: ModuleType, items: list[pytest.Item], model: bool) -> Verdict:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        _put_into(module, mutant)
    except SyntaxError:
        return Verdict(mutant, "the compiler", 0, len(items))
    for passed, item in enumerate(items):
        signal.setitimer(signal.ITIMER_PROF, SPINS_AFTER)  # their signals end the process
        signal.setitimer(signal.ITIMER_REAL, HANGS_AFTER)
        if not _passes(item):
            return Verdict(mutant, item.nodeid, passed, len(items))
    signal.setitimer(signal.ITIMER_PROF, MODEL_HANGS_AFTER)
    signal.setitimer(signal.ITIMER_REAL, MODEL_HANGS_AFTER)
    killed_by = "the model" if model and items and _a_program_differs() else None
    return Verdict(mutant, killed_by, len(items), len(items))


def _a_program_differs() -> bool:
    @settings(
        max_examples=MODEL_PROGRAMS,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs())
    def check_one(program: Block) -> None:
        check(program)

    try:
        check_one()
    except Differs:
        return True
    return False


def _passes(item: pytest.Item) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False))


def _put_into(module: ModuleType, mutant: Mutant) -> None:
    twin = ModuleType(module.__name__)
    vars(twin).update(__package__=module.__package__, __file__=module.__file__)
    exec(compile(mutant.source(), str(mutant.file), "exec"), vars(twin))
    function, mutated = _find(module, mutant.function), _find(twin, mutant.function)
    vars(module)[CosmicRayTestingException.__name__] = CosmicRayTestingException
    if function.__code__.co_freevars != mutated.__code__.co_freevars:  # super() was in what was removed
        owner, _, name = mutant.function.rpartition(".")
        setattr(
            getattr(module, owner),
            name,
            FunctionType(mutated.__code__, vars(module), name, mutated.__defaults__),
        )
        return
    function.__code__ = mutated.__code__
    function.__defaults__, function.__kwdefaults__ = mutated.__defaults__, mutated.__kwdefaults__


def _find(module: ModuleType, function: str) -> FunctionType:
    found: Any = module
    for name in function.split("."):
        found = found.fset if isinstance(found, property) else vars(found)[name]
    found = found.fget if isinstance(found, property) else found
    return getattr(found, "__func__", found)  # type: ignore[no-any-return]


def _functions(module: ModuleType) -> Iterator[tuple[str, CodeType]]:
    """Those written in the module; public classes say that they are of another one."""
    for name, value in list(vars(module).items()):
        members = (
            {f"{name}.{member}": it for member, it in vars(value).items()} if isinstance(value, type) else {}
        )
        for path, member in {name: value, **members}.items():
            parts = {path: member}
            if isinstance(member, property):
                parts = {path: member.fget, f"{path}.fset": member.fset}
            for part, function in parts.items():
                function = getattr(function, "__func__", function)  # of a static method: __new__
                if isinstance(function, FunctionType) and function.__code__.co_filename == module.__file__:
                    yield part, function.__code__


def _forked(jobs: Iterator[tuple[Any, Callable[[], Any]]]) -> Iterator[tuple[Any, Any]]:
    """Carry out each job in a process of its own, and give the results as they come."""
    running: dict[Connection, tuple[Any, Any]] = {}
    while True:
        while len(running) < (os.cpu_count() or 1) and (job := next(jobs, None)):
            what, work = job
            ours, theirs = FORK.Pipe(duplex=False)
            process = FORK.Process(target=_carry_out, args=(work, theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = what, process
        if not running:
            return
        for connection in wait(list(running)):
            what, process = running.pop(connection)
            try:
                result = connection.recv()
            except EOFError:
                process.join()
                hung = process.exitcode in (-signal.SIGALRM, -signal.SIGPROF)
                how = "a test that hangs" if hung else f"exit {process.exitcode}"
                result = Verdict(what, how, 0, 0)
            process.join()
            connection.close()
            yield what, result


def _carry_out(work: Callable[[], Any], results: Connection) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    results.send(work())
    results.close()
    os._exit(0)  # whatever a mutant has left running
