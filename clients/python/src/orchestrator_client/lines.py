"""Lines: what goes between two sides, which is calls that were asked, calls that are served, and their streams."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Callable, Dict, Optional, Tuple

from .errors import CallError
from .values import NOTHING, Message, Payload, decode

STREAM_WINDOW = 8
MOST_CREDIT = 1 << 16

Delivered = Callable[[int], None]
Say = Callable[[Message, Payload, Optional[Delivered]], None]


class Line:
    """One other side: the calls that this one has asked of it, and those that it has asked."""

    def __init__(self, say: Say, dropped: Callable[[], None]) -> None:
        self._say = say
        self._dropped = dropped
        self._number = 0
        self.asked: Dict[int, Asked] = {}
        self.serving: Dict[int, Served] = {}
        # How many calls of each service have no answer yet.
        self.own: Dict[str, int] = {}
        self.over: Optional[CallError] = None

    def say(self, message: Message, payload: Payload = NOTHING, delivered: Optional[Delivered] = None) -> None:
        """Says something, unless there is nobody any more. `delivered` is told to how many it came."""
        if self.over is None:
            self._say(message, payload, delivered)

    def ask(self, message: Message, payload: Payload = NOTHING, service: str = "") -> Asked:
        """Says something that is answered. The place for the answer is there before the question goes."""
        self._number += 1
        message["id"] = self._number
        asked = Asked(self, self._number, service)
        if self.over is not None:
            asked.fail(self.over)
            return asked
        self.asked[self._number] = asked
        self.own[service] = self.own.get(service, 0) + 1
        self._say(message, payload, asked.delivered)
        return asked

    def forget(self, asked: Asked) -> bool:
        """Its answer is not waited for any more; whether it was."""
        if self.asked.pop(asked.number, None) is None:
            return False
        left = self.own.get(asked.service, 0) - 1
        if left > 0:
            self.own[asked.service] = left
        else:
            self.own.pop(asked.service, None)
        return True

    def hear(self, message: Message, data: bytes) -> bool:
        """Something that belongs to a call; whether it was that."""
        kind = message["type"]
        if kind in ("reply", "stream", "item", "end", "error"):
            asked = self.asked.get(message["id"])
            if asked is None:
                self._dropped()
            else:
                asked.hear(kind, message, data)
        elif kind == "cancel":
            served = self.serving.pop(message["id"], None)
            if served is not None:
                served.cancel()
        elif kind == "credit":
            served = self.serving.get(message["id"])
            if served is not None:
                served.more(int(message["items"]))
        else:
            return False
        return True

    def end(self, error: CallError) -> None:
        """Nothing is said here any more: what was asked fails, and what was served is not wanted."""
        if self.over is not None:
            return
        self.over = error
        for asked in list(self.asked.values()):
            asked.fail(error)
        for served in list(self.serving.values()):
            served.cancel()
        self.serving.clear()


class Served:
    """A call that the other side has made, while it is under way."""

    def __init__(self) -> None:
        self.task: Optional[asyncio.Task[None]] = None
        self._credit = STREAM_WINDOW
        self._more = asyncio.Event()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def more(self, items: int) -> None:
        """So many more items of its stream are welcome."""
        self._credit = min(MOST_CREDIT, self._credit + max(0, items))
        self._more.set()

    async def room(self) -> None:
        """Waits until an item may be sent, which is then one less."""
        while self._credit == 0:
            self._more.clear()
            await self._more.wait()
        self._credit -= 1


class Asked:
    """A call that has no result yet. The result is a value, or `Items` if it is a stream."""

    def __init__(self, line: Line, number: int, service: str) -> None:
        self._line = line
        self._timer: Optional[asyncio.TimerHandle] = None
        self._items: Optional[Items] = None
        self.number = number
        self.service = service
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # Whether it is certain that the method was not called.
        self.not_run = False
        # Whether the time of this attempt ran out.
        self.late = False

    def expire(self, at: float, why: str) -> None:
        """It has time until then."""
        self._timer = asyncio.get_running_loop().call_at(at, self._expired, why)

    def last(self) -> None:
        """It has all the time that it needs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def delivered(self, receivers: int) -> None:
        if receivers == 0:
            self.not_run = True
            self.fail(CallError("the member that it was sent to is gone", "unavailable"))

    def hear(self, kind: str, message: Message, data: bytes) -> None:
        """An answer has come, or a piece of it."""
        try:
            if kind == "error":
                self.not_run = message.get("not_run") is True
                self.fail(CallError.heard(message.get("error")))
            elif kind == "stream":
                if self._items is None:
                    self._items = Items(self)
                    if not self.future.done():
                        self.future.set_result(self._items)
            elif kind == "item":
                if self._items is not None:
                    self._items.put(decode(data, message.get("json")))
            elif kind == "end":
                self._settle(None, None)
            else:
                self._settle(decode(data, message.get("json")), None)
        except ValueError as error:
            self.cancel()
            self.fail(CallError(f"its answer cannot be read: {error}"))

    def fail(self, error: CallError) -> None:
        """There will be no result."""
        self._settle(None, error)

    def cancel(self) -> None:
        """The result is not wanted any more."""
        if self._line.forget(self):
            self.last()
            self._line.say({"type": "cancel", "id": self.number})

    def taken(self, items: int) -> None:
        """So many items of the stream were taken, so as many may follow."""
        if self.number in self._line.asked:
            self._line.say({"type": "credit", "id": self.number, "items": items})

    def _expired(self, why: str) -> None:
        self.late = True
        self.cancel()
        self.fail(CallError(why, "timeout"))

    def _settle(self, value: Any, error: Optional[CallError]) -> None:
        self._line.forget(self)
        self.last()
        if self._items is not None:
            self._items.finish(error)
        elif not self.future.done():
            if error is None:
                self.future.set_result(value)
            else:
                self.future.set_exception(error)


class Items(AsyncIterator[Any]):
    """The items of a stream, as fast as they are taken. `aclose()` tells its sender that no more are wanted."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._queue: asyncio.Queue[Tuple[str, Any]] = asyncio.Queue()
        self._taken = 0
        self._room = STREAM_WINDOW
        self._over = False

    def put(self, item: Any) -> None:
        if self._room == 0:
            raise ValueError("more items came than were asked for")
        self._room -= 1
        self._queue.put_nowait(("item", item))

    def finish(self, error: Optional[CallError]) -> None:
        if not self._over:
            self._over = True
            self._queue.put_nowait(("end", error))

    def __aiter__(self) -> Items:
        return self

    async def __anext__(self) -> Any:
        if self._over and self._queue.empty():
            raise StopAsyncIteration
        kind, value = await self._queue.get()
        if kind == "item":
            self._taken += 1
            if self._taken >= STREAM_WINDOW // 2 and not self._over:
                self._room += self._taken
                self._asked.taken(self._taken)
                self._taken = 0
            return value
        if value is not None:
            raise value
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._asked.cancel()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._over = True
        self._queue.put_nowait(("end", None))
