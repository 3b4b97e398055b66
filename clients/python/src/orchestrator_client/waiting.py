"""Waiting that no cancellation gets lost in: before Python 3.12, `asyncio.wait_for` swallows one now and then."""

from __future__ import annotations

import asyncio
from typing import Any, Coroutine, Iterable


async def within(work: Coroutine[Any, Any, Any], timeout: float) -> Any:
    """Does something that may take so long; what takes longer is cancelled, and a TimeoutError of asyncio."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout)
    except asyncio.CancelledError:
        await cancel([task])
        raise
    if not task.done():
        await cancel([task])
        raise asyncio.TimeoutError
    return task.result()


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks, and waits for their end. One that swallows it is told again."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=0.1)
        for task in done:
            if not task.cancelled():
                # What came of it is not of interest any more, but asyncio wants it to be looked at.
                task.exception()


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Does something even where it is cancelled meanwhile: what is half closed stays open."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
