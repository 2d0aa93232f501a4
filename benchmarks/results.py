"""What one run of the benchmarks found."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata

import pyperf

from .end_to_end import EndToEnd
from .growth import Curve, Flatness
from .idle import Idle
from .measure import Series
from .operations import Line
from .profile import Share

PACKAGES = ("interloop", "trio", "anyio", "quattro", "aiotools", "aiologic", "uvloop", "sniffio")


@dataclass
class Results:
    """What was measured.

    Attributes:
        command: that made it.
        cut: what of the full size was left out, in words.
        operations: by loop and title.
        floors: by loop and title.
        profiles: by loop, title, library and function.
        child_bytes: by loop and library, of one waiting child.
        imports: by package.
    """

    command: str
    cut: str
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    operations: dict[str, dict[str, tuple[Line, Series]]] = field(default_factory=dict)
    floors: dict[str, dict[str, Series]] = field(default_factory=dict)
    profiles: dict[str, dict[str, dict[str, dict[str, Share]]]] = field(default_factory=dict)
    idle: list[Idle] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    child_bytes: dict[str, dict[str, float]] = field(default_factory=dict)
    flatness: list[Flatness] = field(default_factory=list)
    end_to_end: list[EndToEnd] = field(default_factory=list)
    imports: dict[str, pyperf.Benchmark] = field(default_factory=dict)

    def series(self, loop: str, title: str) -> Series:
        """Of an operation; empty if it was not measured."""
        _, series = self.operations.get(loop, {}).get(title, (None, Series()))
        return series

    def python(self) -> str:
        return f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor}"

    def machine(self) -> str:
        known = [each.get_metadata() for each in self.imports.values()] or [{}]
        cpu = known[0].get("cpu_model_name", platform.processor() or platform.machine())
        return f"{os.cpu_count()} × {cpu}, {platform.system()} {platform.release()}"

    def versions(self) -> dict[str, str]:
        """Of Python and of the libraries, `not installed` among them."""
        found = {platform.python_implementation(): sys.version.split()[0]}
        for package in PACKAGES:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                found[package] = "not installed"
        return found
