"""The project's chores: `nox` runs the tests, `nox --list` shows the rest."""

from __future__ import annotations

from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
CPYTHONS = nox.project.python_versions(PYPROJECT)
PYTHONS = [*CPYTHONS, "pypy3.11"]
LOWEST = CPYTHONS[0]
ALL_HOSTS = "3.13"  # the eager hosts need 3.12, and every host's library has a wheel for it

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "lowest", "cpython", "typing", "lint", "docs"]
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"


def group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PYPROJECT, name)


def run_tests(session: nox.Session, *selected: str) -> None:
    # by file, the conformance runner's early: its tests start processes and take longest, beside all others
    session.run(
        "pytest",
        *("-n", "logical", "--dist", "loadfile", "--no-loadscope-reorder"),
        *selected,
        *session.posargs,
    )
    session.run("python", "-m", "interloop.conformance")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The package's own tests and the conformance suite, on every Python."""
    session.install(".[conformance,trio]", *group("tests"))
    run_tests(session)


@nox.session(python=LOWEST)
def lowest(session: nox.Session) -> None:
    """The same with the lowest versions that pyproject.toml allows."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    bounds = {*project["dependencies"], *(bound for extra in extras for bound in extra), *group("hosts")}
    constraints = Path(session.create_tmp(), "lowest.txt")
    constraints.write_text("\n".join(bound.replace(">=", "==") for bound in sorted(bounds)), "utf-8")
    session.install("-c", str(constraints), ".[conformance,trio]", *group("tests"))
    # random programs and benchmarks: for our own code, which is the same with every version of the hosts
    ours = ("model", "coordination", "test_benchmarks.py")
    run_tests(session, *(f"--ignore=tests/{name}" for name in ours))


@nox.session(python=ALL_HOSTS)
def conformance(session: nox.Session) -> None:
    """The contract, rule by rule, on every host."""
    session.install(".[conformance,trio]", *group("hosts"))
    session.run("python", "-m", "interloop.conformance", *session.posargs)


@nox.session(python=PYTHONS)
def model(session: nox.Session) -> None:
    """Random programs see the same on every host: `-- --programs 100000 --seed 1 --foreign`."""
    session.install(".[trio]", *group("tests"))
    session.run("python", "-m", "model.bulk", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(python=PYTHONS)
def handover(session: nox.Session) -> None:
    """Random givers, receivers and cancellations lose no item: `-- --rounds 10000 --seed 1`."""
    session.install(".[trio]", *group("tests"))
    session.run("python", "-m", "handover.bulk", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(python=PYTHONS)
def coordination(session: nox.Session) -> None:
    """Random programs over locks, channels and the like, as `model`: `-- --programs 100000 --seed 1`."""
    session.install(".[trio]", *group("tests"))
    session.run("python", "-m", "coordination.bulk", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(python=CPYTHONS)
def ledger(session: nox.Session) -> None:
    """Every sequence of acts on one task, up to what takes a minute: `-- --longer 1`."""
    session.install(".", *group("tests"))
    session.run("python", "-m", "ledger", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(python=[ALL_HOSTS, LOWEST])
def mutation(session: nox.Session) -> None:
    """A change to any function must be noticed: `-- _trio/groups.py --function TaskGroup`; all take an hour.

    On the lowest Python only what matters nowhere else is judged.
    """
    session.install(".[conformance,trio]", *group("mutation"))
    listed = ["--listed"] if session.python == LOWEST else []
    session.run("python", "-m", "mutation.run", *listed, *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(python=CPYTHONS)
def cpython(session: nox.Session) -> None:
    """CPython's own tests of task groups and timeouts, with interloop in the place of the native names."""
    session.install(".")
    session.run("python", "tests/cpython/run.py")


@nox.session
def typing(session: nox.Session) -> None:
    """mypy and pyright, and the public names typed to the last."""
    session.install(".[conformance,trio]", *group("typing"))
    session.run("mypy", "src", "benchmarks", "tests/typing", "tests/backend_package/src", "noxfile.py")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "interloop", "--ignoreexternal")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, as linter and as formatter."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check", "--diff")


@nox.session
def docs(session: nox.Session) -> None:
    """The pages, warnings as errors, and every example in them run on both backends."""
    session.install(".[conformance,trio]", *group("docs"))
    session.run("sphinx-build", "-W", "-b", "html", "docs", "docs/_build/html")
    session.run("pytest", "tests/test_docs.py", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """One function on asyncio, uvloop and trio, against a local server or the URLs given."""
    session.install(".", *group("demo"))
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """interloop measured beside its peers; makes docs/benchmarks.md anew."""
    session.install(".", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Everything at once in real time leaves nothing behind: `-- --minutes 60`."""
    session.install(".", *group("bench"))
    session.run("python", "-m", "benchmarks.soak", *session.posargs)
