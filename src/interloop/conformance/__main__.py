"""`python -m interloop.conformance`: run the suite and report on it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

missing: list[str] = [package for package in ("jinja2", "pytest", "rich") if find_spec(package) is None]
if missing:
    print(f"not installed: {', '.join(missing)}; pip install 'interloop[conformance]'", file=sys.stderr)
    sys.exit(2)

from ._cli import main  # noqa: E402

sys.exit(main())
