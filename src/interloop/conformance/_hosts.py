"""A host by name, as the command and the plugin take it."""

from __future__ import annotations

from ..testing import Host, find_host
from ._rules import check_rules


def host_of(name: str) -> Host:
    """The host with that name, whose declared deviations are from rules that exist.

    Raises:
        LookupError: there is no such host, or it declares a deviation from no rule of the contract.
    """
    host = find_host(name)
    try:
        check_rules(host.deviations)
    except ValueError as error:
        raise LookupError(f"the host {name!r} declares deviations: {error}") from None
    return host
