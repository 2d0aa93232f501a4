"""Some random rounds on every host; `nox -s handover` plays more."""

from __future__ import annotations

import pytest

from interloop.testing import HOSTS, Host

from .rounds import play

pytest.importorskip("anyio", reason="its streams are among what is played with")


@pytest.mark.parametrize(
    "host", [host for host in HOSTS.values() if host.virtual], ids=lambda host: host.name
)
def test_every_item_is_received_once_or_still_with_its_giver(host: Host) -> None:
    if missing := host.missing():
        pytest.skip(missing)
    complaints = {seed: complaint for seed in range(30) if (complaint := play(host, seed).complaint())}
    assert complaints == {}
