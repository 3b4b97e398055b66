"""What a program does with others, however it is connected: calls, events, configuration, and services of its own."""

from __future__ import annotations

import asyncio
import random
import time
from typing import (
    Any,
    AsyncIterator,
    Awaitable,
    Callable,
    Dict,
    Generator,
    List,
    NamedTuple,
    NoReturn,
    Optional,
    Set,
)

from .config import Config, Off, Watchers
from .errors import CallError
from .lines import Items
from .members import MemberInfo
from .serving import Function, Listeners, Offer, Runner, Server, complain, current, methods_of
from .values import Duration, Payload, check_pattern, check_service, encode, milliseconds
from .waiting import cancel, within

LONGEST_PAUSE = 5.0


class Options(NamedTuple):
    """How a call is made. Lengths of time are in milliseconds."""

    timeout: Optional[int] = None
    retries: int = 0
    attempt: Optional[int] = None
    key: Optional[str] = None

    def but(
        self,
        timeout: Optional[Duration] = None,
        retries: Optional[int] = None,
        attempt: Optional[Duration] = None,
        key: Optional[object] = None,
        **unknown: object,
    ) -> Options:
        """The same with some of them chosen."""
        for name in unknown:
            raise TypeError(f"there is no option {name!r}: there are timeout, retries, attempt and key")
        if retries is not None and (not isinstance(retries, int) or isinstance(retries, bool) or retries < -1):
            raise ValueError(f"retries is a number from 0 on, or -1 for as often as there is time, not {retries!r}")
        return Options(
            self.timeout if timeout is None else milliseconds(timeout, "timeout"),
            self.retries if retries is None else retries,
            self.attempt if attempt is None else milliseconds(attempt, "attempt"),
            self.key if key is None else str(key),
        )


class Result(Awaitable[Any]):
    """A result that may be awaited, or gone through with `async for` if it is many."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task

    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        items = await self
        if not isinstance(items, Items):
            raise TypeError("the result is no stream: await it")
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()


class Method:
    """`services.NAME.method(...)`, `.options(...)`, `.send(...)`, and what lies below."""

    def __init__(self, client: Client, service: str, path: str, options: Options) -> None:
        self._client = client
        self._service = service
        self._path = path
        self._options = options

    def __getattr__(self, name: str) -> Method:
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"{self._path}.{name}" if self._path else name
        return Method(self._client, self._service, path, self._options)

    def __call__(self, *values: object, **named: NoReturn) -> Result:
        _refuse_named(named)
        return self._client.begin(self._service, self._path, values, self._options)

    def options(
        self,
        *,
        timeout: Optional[Duration] = None,
        retries: Optional[int] = None,
        attempt: Optional[Duration] = None,
        key: Optional[object] = None,
        **unknown: NoReturn,
    ) -> Method:
        """The same, with a time-out, so many further attempts, a time-out for each, or a key that chooses a member."""
        options = self._options.but(timeout, retries, attempt, key, **unknown)
        return Method(self._client, self._service, self._path, options)

    async def send(self, *values: object, **named: NoReturn) -> None:
        """Calls it without wanting the result; returns when somebody was given it."""
        _refuse_named(named)
        await self._client.begin(self._service, self._path, values, self._options, kind="send")


class Services:
    """All services, by their names: `services.stock`, `services["web/worker"]`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Method:
        if name.startswith("__"):
            raise AttributeError(name)
        # A name of a service has no underscores, and one in Python no hyphens.
        return Method(self._client, name.replace("_", "-"), "", Options())

    def __getitem__(self, name: str) -> Method:
        return Method(self._client, name, "", Options())


class Registered:
    """A service that this program offers."""

    def __init__(self, client: Client, offer: Offer) -> None:
        self._client = client
        self._offer = offer
        self.name = offer.name

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return len(self._offer.running)

    async def close(self, timeout: Duration = 10.0) -> None:
        """Withdraws it at once, and returns when what is under way is finished, or cancelled after this time."""
        await self._client.withdraw(self._offer, milliseconds(timeout, "timeout") / 1000)


class Client:
    """A program that is connected. `Fabric` and `Attached` say how what it wants is done."""

    def __init__(self, name: str, call_timeout: Duration, runner: Optional[Runner]) -> None:
        self.name = check_service(name, "the name of a program")
        self.services = Services(self)
        self.status = "down"
        # Packets that were refused, by kind; answers that came too late; events that were too many.
        self._counts = dict.fromkeys(("forged", "stale", "replayed", "stranger", "malformed", "late"), 0)
        self._call_timeout = milliseconds(call_timeout, "call_timeout")
        self._runner = runner or Runner()
        self._server = Server(self._runner)
        self._listeners = Listeners(self._runner)
        self._watchers = Watchers()
        self._told: Set[asyncio.Task[Any]] = set()
        self._calls: Set[asyncio.Task[Any]] = set()
        self._on_status: List[Callable[[str], object]] = []
        self._keeping: Optional[asyncio.Task[None]] = None
        # No more is offered; and at last, nothing is said any more.
        self._closing = False
        self._closed = False
        # There may be no event loop yet, so this is made when the connection is.
        self._change: asyncio.Event

    # What the program wants.

    def call(
        self,
        service: str,
        method: str,
        *values: object,
        timeout: Optional[Duration] = None,
        retries: Optional[int] = None,
        attempt: Optional[Duration] = None,
        key: Optional[object] = None,
        **unknown: NoReturn,
    ) -> Result:
        """Calls a method with these values. The result is awaited, or gone through if it is a stream."""
        return self.begin(service, method, values, Options().but(timeout, retries, attempt, key, **unknown))

    async def send(
        self,
        service: str,
        method: str,
        *values: object,
        timeout: Optional[Duration] = None,
        retries: Optional[int] = None,
        attempt: Optional[Duration] = None,
        key: Optional[object] = None,
        **unknown: NoReturn,
    ) -> None:
        """Calls a method without wanting the result; returns when somebody was given it."""
        options = Options().but(timeout, retries, attempt, key, **unknown)
        await self.begin(service, method, values, options, kind="send")

    async def emit(self, event: str, data: object = None) -> int:
        """Tells an event to everybody who listens to it; returns to how many it was sent."""
        check_pattern(event, star=False)
        payload = encode(data)
        self._ensure_open()
        return await self._emit(event, payload)

    async def on(self, event: str, handler: Function, *, group: Optional[str] = None) -> Off:
        """Calls `handler(data, about)` for each event of this name, or below it ("stock.*").

        Of those with the same group and the same program's name, one hears each. Returns what ends it.
        """
        check_pattern(event, star=True)
        self._ensure_open(self._closing)
        if self._listeners.add(event, group, handler):
            try:
                await self._subscribed("subscribe", event, group)
            except BaseException:
                self._listeners.remove(event, group, handler)
                raise

        async def off() -> None:
            if self._listeners.remove(event, group, handler) and not self._closing:
                await self._subscribed("unsubscribe", event, group)

        return off

    def config(self, service: str) -> Config:
        """The configuration of that service."""
        return Config(self, check_service(service))

    async def register(self, name: str, methods: object, *, max_in_flight: int = 512) -> Registered:
        """Offers a service: a dict of functions, or an object or module whose public functions are the methods."""
        check_service(name)
        if not isinstance(max_in_flight, int) or max_in_flight < 1:
            raise ValueError(f"max_in_flight is a number from 1 on, not {max_in_flight!r}")
        if name in self._server.offers:
            raise ValueError(f"this program offers {name} already: close that one first")
        self._ensure_open(self._closing)
        offer = Offer(name, methods_of(methods), max_in_flight)
        self._server.offers[name] = offer
        try:
            await self._offered()
        except BaseException:
            self._server.offers.pop(name, None)
            raise
        return Registered(self, offer)

    def on_status(self, handler: Callable[[str], object]) -> Callable[[], None]:
        """Calls `handler("up")` or `handler("down")` when that changes. Returns what ends it."""
        self._on_status.append(handler)
        return lambda: self._on_status.remove(handler) if handler in self._on_status else None

    @property
    def counts(self) -> Dict[str, int]:
        """The packets that were refused, by kind; answers that came too late; events that were too many."""
        return {**self._counts, "lost": self._listeners.lost}

    def members(self) -> List[MemberInfo]:
        """Who else is there."""
        return []

    async def close(self, timeout: Duration = 10.0) -> None:
        """Withdraws everything, finishes what is under way (for so long at most), and leaves nothing behind."""
        grace = milliseconds(timeout, "timeout") / 1000
        if not self._closing:
            self._closing = True
            offers = list(self._server.offers.values())
            for offer in offers:
                offer.closed = True
            self._server.offers.clear()
            try:
                if self.status == "up":
                    await self._withdrawn()
            except CallError:
                # The connection went meanwhile, and so everybody knows that nothing is offered any more.
                pass
            await self._server.drain([offer for _, offer in self._server.running.values()], grace)
            await self._listeners.close(grace)
            self._closed = True
            await self._leave()
        mine = asyncio.current_task()
        left = [task for task in (self._keeping, *self._calls, *self._told) if task and task is not mine]
        await cancel(left)
        self._become("down")
        self._runner.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # What both ways of being connected have in common.

    def begin(
        self, service: str, method: str, values: tuple[object, ...], options: Options, kind: str = "call"
    ) -> Result:
        """Makes a call; its result is there sooner or later."""
        check_service(service)
        check_pattern(method, star=False)
        payload = encode(list(values))
        self._ensure_open()
        invocation = current()
        task = asyncio.get_running_loop().create_task(self._called(kind, service, method, payload, options))
        for tasks in (self._calls, *([invocation.nested] if invocation else [])):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return Result(task)

    async def _called(self, kind: str, service: str, method: str, payload: Payload, options: Options) -> Any:
        try:
            return await self._call(kind, service, method, payload, options)
        except CallError as error:
            raise error.about(service, method) from None
        except asyncio.CancelledError:
            if self._closed:
                raise CallError("the program has closed its connection", "cancelled", service, method) from None
            raise

    def deadline(self, options: Options) -> float:
        """Until when a call has time: no longer than the one that it is made for."""
        now = time.monotonic()
        deadline = now + (options.timeout or self._call_timeout) / 1000
        invocation = current()
        if invocation is not None and not invocation.streams:
            deadline = min(deadline, invocation.deadline)
        return asyncio.get_running_loop().time() + max(0.001, deadline - now)

    async def withdraw(self, offer: Offer, grace: float) -> None:
        if not offer.closed:
            offer.closed = True
            self._server.offers.pop(offer.name, None)
            if not self._closing:
                await self._offered()
        await self._server.drain([offer], grace)

    async def _keep(self, first: asyncio.Future[None]) -> None:
        """Stays connected: one session after the other, with longer and longer pauses while there is none."""
        failures = 0
        while not self._closing:
            began = time.monotonic()
            try:
                await self._live(first)
            except CallError as error:
                if not first.done():
                    return first.set_exception(error)
            finally:
                self._become("down")
            # Only who has lived for a while begins again at once.
            failures = failures + 1 if time.monotonic() - began < LONGEST_PAUSE else 0
            most = min(LONGEST_PAUSE, 0.05 * 2 ** min(failures, 10))
            await asyncio.sleep(random.uniform(max(0.05, most / 2), most))

    async def start(self) -> None:
        """Connects for the first time, and says why where that cannot be."""
        loop = asyncio.get_running_loop()
        self._change = asyncio.Event()
        first: asyncio.Future[None] = loop.create_future()
        self._keeping = loop.create_task(self._keep(first))
        try:
            await first
        except BaseException:
            self._closing = self._closed = True
            await cancel([self._keeping])
            self._runner.close()
            raise

    def _become(self, status: str) -> None:
        if self.status == status:
            return
        self.status = status
        self._changed()
        for handler in list(self._on_status):
            try:
                handler(status)
            except Exception as error:
                complain("a handler of the status", error)

    def _changed(self) -> None:
        """Whoever waits for somebody to call looks again."""
        self._change.set()
        self._change = asyncio.Event()

    async def _until_changed(self, timeout: float) -> bool:
        """Waits until somebody else could be called; whether that was in time."""
        try:
            await within(self._change.wait(), timeout)
            return True
        except asyncio.TimeoutError:
            return False

    def _tell_watchers(self, service: str, name: str, value: Any) -> None:
        for watcher in self._watchers.of(service):
            self._spawn(self._runner.tell("a watcher of the configuration", watcher, name, value))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._told.add(task)
        task.add_done_callback(self._told.discard)

    def _ensure_open(self, closing: bool = False) -> None:
        if closing or self._closed:
            raise CallError("the program has closed its connection", "unavailable")

    def _late(self) -> None:
        self._counts["late"] += 1

    # What `Fabric` and `Attached` do each in their own way.

    async def _live(self, first: asyncio.Future[None]) -> None:
        """One session, from its beginning to its end, which is a CallError."""
        raise NotImplementedError

    async def _leave(self) -> None:
        """Says goodbye."""
        raise NotImplementedError

    async def _call(self, kind: str, service: str, method: str, payload: Payload, options: Options) -> Any:
        raise NotImplementedError

    async def _emit(self, event: str, payload: Payload) -> int:
        raise NotImplementedError

    async def _subscribed(self, kind: str, event: str, group: Optional[str]) -> None:
        raise NotImplementedError

    async def _offered(self) -> None:
        """What is offered has changed."""
        raise NotImplementedError

    async def _withdrawn(self) -> None:
        """Nothing is offered and heard any more, for the program closes."""
        raise NotImplementedError

    async def get_config(self, service: str, name: str) -> Any:
        raise NotImplementedError

    async def set_config(self, service: str, name: str, value: Optional[Payload]) -> None:
        raise NotImplementedError

    async def watch_config(self, service: str, watcher: Function) -> Off:
        raise NotImplementedError


def _refuse_named(named: Dict[str, Any]) -> None:
    if named:
        raise TypeError("arguments by name are not sent to services: pass them in their order, or as a dict")
