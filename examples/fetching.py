"""What a library would ship: one function, for whatever event loop the application runs."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from interloop import deadline, task_group

Answer = httpx.Response | Exception


async def fetch_all(urls: Sequence[str], seconds: float) -> list[Answer]:
    """What each URL answered, in order: a response, an error, or a `TimeoutError`."""

    async def fetch(url: str) -> Answer:
        try:
            return (await client.get(url)).raise_for_status()
        except httpx.HTTPError as error:
            return error

    async with httpx.AsyncClient(timeout=None) as client:
        with deadline(seconds, suppress=True):
            async with task_group() as tg:
                tasks = [tg.create_task(fetch(url)) for url in urls]
    return [TimeoutError() if task.cancelled() else task.result() for task in tasks]
