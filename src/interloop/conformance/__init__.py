"""The conformance suite: one test or more for each rule of the contract, run on every host.

Run it with `python -m interloop.conformance`; `--help` lists the options. It needs the extra
`interloop[conformance]`.

**Writing a test.** A chapter of the contract is a module of this package (`test_groups.py` for G, ...).
A test is a function, async or not, marked with the rules that it proves:

    from interloop import sleep, task_group
    from interloop.conformance import rule

    @rule("G1")
    async def test_the_block_waits_for_every_child(tick: float) -> None:
        ended = []

        async def child() -> None:
            await sleep(3 * tick)
            ended.append("child")

        async with task_group() as tg:
            tg.create_task(child())
        assert ended == ["child"]

- `rule("G4", "G5")`: a test may prove several rules. `rule("N1", only="asyncio")` is for a rule that is
  about one backend alone: on hosts of the other backend the test is neither run nor counted. Likewise
  `rule("N6", host="asyncio")`, for a test that runs a loop of its own in a process: it would only do the
  same again elsewhere.
- `rule("N6", real_time=True)`: the test waits for real time on every host, for a process say. Such a test,
  and every test on a host with real time, is run again if it fails, when no other runs and with four times
  the tick: the machine may have been too busy. The report says so; a second failure is a failure.
- An `async def` test runs as the only function of a fresh loop, once on each host. A plain test takes the
  fixture `host` and calls `host.run(async_fn)` itself, as often as it likes: each run is a fresh loop, and
  gives the result of `async_fn()` or raises its error.
- The fixture `tick` is the unit of time, in seconds: 1.0 where time is virtual, 0.05 where it is real.
  Sleep, and set deadlines, in multiples of it. What is compared with `==` must not depend on how
  exactly a host keeps time: compare orders, or measure with
  `pytest.approx(3 * tick, abs=tick / 2)`, and keep two events of different tasks at least a tick apart.
- The fixture `host` tells about the host: `host.name`, `host.backend` (`"asyncio"` or `"trio"`),
  `host.virtual`, `host.tick`.
- A run fails if a task is still alive when its function returns, and if the loop's exception handler is
  told of anything. Warnings are errors ("never awaited" among them), and a test that takes longer than 30
  real seconds fails.
- A test that needs a library beyond the host's begins with `pytest.importorskip("anyio")`. A skip is
  shown with its reason and never counts as passed.
- No test is for one backend alone unless its rule is, and none tells hosts apart by name.

While writing, plain pytest runs the suite too, with the same configuration (`pytest.ini` beside this file):

    pytest src/interloop/conformance/test_groups.py --host trio --host asyncio -k waits

`--rule G4` selects by rule, and `python -m interloop.conformance --rule G4` reports on one.
"""

from ._rules import rule

__all__ = ["rule"]
