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
        options = ["--quiet", "--processes", "1", "--warmups", "1", "--values", "10", "--output", str(output)]
        program = [sys.executable, "-c", f"import {package}"]
        command = [sys.executable, "-m", "pyperf", "command", *options, "--", *program]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return pyperf.Benchmark.load(str(output))


def installed_packages() -> list[str]:
    return [package for package in PACKAGES if find_spec(package)]
