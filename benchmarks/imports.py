"""What `import` costs: fresh interpreters, hence pyperf, which starts them and knows the machine."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pyperf

BASELINE = "sniffio"
PACKAGES = (BASELINE, "interloop", "asyncio", "trio", "anyio", "quattro", "aiotools")


def import_time(package: str) -> pyperf.Benchmark:
    """An interpreter that starts, imports and ends."""
    with TemporaryDirectory() as directory:
        output = Path(directory, "import.json")
        runs = ["--processes=1", "--warmups=1", "--loops=1", "--values=10"]
        program = [sys.executable, "-c", f"import {package}"]
        command = ["pyperf", "command", "--quiet", *runs, f"--output={output}", "--", *program]
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
        return pyperf.Benchmark.load(str(output))


def installed_packages() -> list[str]:
    return [package for package in PACKAGES if find_spec(package)]
