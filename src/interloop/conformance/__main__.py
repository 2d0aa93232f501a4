"""`python -m interloop.conformance`: run the suite and report on it."""

from __future__ import annotations

import sys

try:
    from ._cli import main
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] == "interloop":
        raise
    sys.exit(f"{error.name} is not installed: pip install 'interloop[conformance]'")

sys.exit(main())
