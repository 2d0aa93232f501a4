"""Wheels, built and unpacked without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile


def build_wheel(project: Path, folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=project,
        check=True,
        capture_output=True,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> None:
    """What installing a pure wheel amounts to, for whoever has `folder` on the path."""
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
