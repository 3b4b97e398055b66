"""The face without asyncio: the same names, whose functions return when it is done. A thread has the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, AsyncGenerator, Awaitable, Callable, Dict, Generator, Iterator, List, NoReturn, Optional, Union

from . import client as _client
from .config import Config as _Config
from .config import Off as _AsyncOff
from .connecting import make, refuse_unknown
from .errors import CallError
from .lines import Items as _Items
from .members import MemberInfo
from .serving import Function, Runner, complain, current
from .values import Duration, takes

__all__ = ["CallError", "Client", "Config", "Items", "Method", "Registered", "Services", "connect", "current"]

Off = Callable[[], None]

_END = object()


class _Threads(Runner):
    """Calls plain functions in threads of a pool, and asynchronous ones on the event loop."""

    def __init__(self, threads: int) -> None:
        if not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads is a number from 1 on, not {threads!r}")
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="orchestrator-client")
        self._inside = threading.local()
        self._busy = 0

    async def call(self, function: Function, *values: Any) -> Any:
        if _is_asynchronous(function):
            result = function(*values)
        else:
            result = await self._in_thread(function, *values)
        return await result if inspect.isawaitable(result) else result

    async def each(self, values: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
        try:
            while True:
                value = await self._in_thread(next, values, _END)
                if value is _END:
                    return
                yield value
        finally:
            # Where its thread is in the middle of an item, it ends there, and nobody hears of it.
            self._pool.submit(self._close, values)

    async def _in_thread(self, function: Function, *values: Any) -> Any:
        # What the function asks for in turn has to know which call it is for.
        context = contextvars.copy_context()

        def run() -> Any:
            self._inside.here = True
            try:
                return context.run(function, *values)
            except StopIteration as error:
                # A future cannot hold it.
                raise RuntimeError("the function raised StopIteration") from error

        self._busy += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, run)
        try:
            return await future
        finally:
            self._busy -= 1

    @staticmethod
    def _close(values: Generator[Any, None, None]) -> None:
        try:
            values.close()
        except Exception as error:
            complain("the end of a stream", error)

    def inside(self) -> bool:
        """Whether this is one of its threads."""
        return getattr(self._inside, "here", False)

    def submit(self, function: Function, *values: Any) -> None:
        self._pool.submit(function, *values)

    def close(self) -> None:
        self._pool.shutdown(wait=False)

    def join(self) -> None:
        """Waits for the threads, unless one of them is busy with something that never ends, or is this one."""
        if not self._busy and not self.inside():
            self._pool.shutdown(wait=True)


class _InTurn:
    """A handler that is called for one thing after the other, as they came, though there are many threads."""

    def __init__(self, runner: Runner, handler: Function) -> None:
        self._runner = runner
        self._handler = handler
        self._lock: Optional[asyncio.Lock] = None

    async def __call__(self, *values: Any) -> None:
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            await self._runner.call(self._handler, *values[: takes(self._handler, len(values))])


class _Thread:
    """The thread with the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="orchestrator-client-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Does something there, and waits for it."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("an asynchronous function cannot use the plain face: make it a plain one")
        if self._loop.is_closed():
            raise CallError("the program has closed its connection", "unavailable")

        async def waited() -> Any:
            return await work()

        future = asyncio.run_coroutine_threadsafe(waited(), self._loop)
        try:
            return future.result()
        except BaseException:
            # Somebody who presses a key does not want the result any more.
            future.cancel()
            raise

    def soon(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Does something there, sooner or later."""

        async def done() -> None:
            await work()

        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(done(), self._loop)

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()


class Items(Iterator[Any]):
    """The items of a stream, as fast as they are taken. Its sender is told when no more are wanted."""

    def __init__(self, thread: _Thread, items: _Items) -> None:
        self._thread = thread
        self._items = items

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> Any:
        value = self._thread.run(self._next)
        if value is _END:
            raise StopIteration
        return value

    async def _next(self) -> Any:
        try:
            return await self._items.__anext__()
        except StopAsyncIteration:
            return _END

    def close(self) -> None:
        """No more are wanted."""
        self._thread.soon(self._items.aclose)

    def __enter__(self) -> Items:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Who leaves a loop over it does not come back.
        self.close()


class Method:
    """`services.NAME.method(...)`, `.options(...)`, `.send(...)`, and what lies below."""

    def __init__(self, thread: _Thread, method: _client.Method) -> None:
        self._thread = thread
        self._method = method

    def __getattr__(self, name: str) -> Method:
        return Method(self._thread, getattr(self._method, name))

    def __call__(self, *values: object, **named: NoReturn) -> Any:
        return _result(self._thread, lambda: self._method(*values, **named))

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
        method = self._method.options(timeout=timeout, retries=retries, attempt=attempt, key=key, **unknown)
        return Method(self._thread, method)

    def send(self, *values: object, **named: NoReturn) -> None:
        """Calls it without wanting the result; returns when somebody was given it."""
        self._thread.run(lambda: self._method.send(*values, **named))


class Services:
    """All services, by their names: `services.stock`, `services["web/worker"]`."""

    def __init__(self, thread: _Thread, services: _client.Services) -> None:
        self._thread = thread
        self._services = services

    def __getattr__(self, name: str) -> Method:
        return Method(self._thread, getattr(self._services, name))

    def __getitem__(self, name: str) -> Method:
        return Method(self._thread, self._services[name])


class Config:
    """The configuration of one service."""

    def __init__(self, thread: _Thread, runner: Runner, config: _Config) -> None:
        self._thread = thread
        self._runner = runner
        self._config = config

    def get(self, name: str) -> Any:
        """The value of this name; None where there is none."""
        return self._thread.run(lambda: self._config.get(name))

    def set(self, name: str, value: object) -> None:
        """Sets a value, for everybody and for ever."""
        self._thread.run(lambda: self._config.set(name, value))

    def remove(self, name: str) -> None:
        """Removes a value."""
        self._thread.run(lambda: self._config.remove(name))

    def watch(self, watcher: Function, name: Optional[str] = None) -> Off:
        """Calls `watcher(name, value)` for every change (of this name); a value of None was removed."""
        in_turn = _InTurn(self._runner, watcher)
        off: _AsyncOff = self._thread.run(lambda: self._config.watch(in_turn, name))
        return lambda: self._thread.run(off)


class Registered:
    """A service that this program offers."""

    def __init__(self, thread: _Thread, registered: _client.Registered) -> None:
        self._thread = thread
        self._registered = registered
        self.name = registered.name

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return self._registered.in_flight

    def close(self, timeout: Duration = 10.0) -> None:
        """Withdraws it at once, and returns when what is under way is finished, or cancelled after this time."""
        self._thread.run(lambda: self._registered.close(timeout))


class Client:
    """A program that is connected."""

    def __init__(self, thread: _Thread, runner: _Threads, client: _client.Client) -> None:
        self._thread = thread
        self._runner = runner
        self._client = client
        self.name = client.name
        self.services = Services(thread, client.services)

    @property
    def status(self) -> str:
        """Whether there is a connection: "up" or "down"."""
        return self._client.status

    @property
    def counts(self) -> Dict[str, int]:
        """The packets that were refused, by kind; answers that came too late; events that were too many."""
        return self._client.counts

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
    ) -> Any:
        """Calls a method with these values. Returns its result, or `Items` if it is a stream."""
        options = _client.Options().but(timeout, retries, attempt, key, **unknown)
        return _result(self._thread, lambda: self._client.begin(service, method, values, options))

    def send(
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
        options = _client.Options().but(timeout, retries, attempt, key, **unknown)
        self._thread.run(lambda: self._client.begin(service, method, values, options, kind="send"))

    def emit(self, event: str, data: object = None) -> int:
        """Tells an event to everybody who listens to it; returns to how many it was sent."""
        return int(self._thread.run(lambda: self._client.emit(event, data)))

    def on(self, event: str, handler: Function, *, group: Optional[str] = None) -> Off:
        """Calls `handler(data, about)` for each event of this name, or below it ("stock.*"). Returns what ends it."""
        in_turn = _InTurn(self._runner, handler)
        off: _AsyncOff = self._thread.run(lambda: self._client.on(event, in_turn, group=group))
        return lambda: self._thread.run(off)

    def config(self, service: str) -> Config:
        """The configuration of that service."""
        return Config(self._thread, self._runner, self._client.config(service))

    def register(self, name: str, methods: object, *, max_in_flight: int = 512) -> Registered:
        """Offers a service: a dict of functions, or an object or module whose public functions are the methods."""
        registered = self._thread.run(lambda: self._client.register(name, methods, max_in_flight=max_in_flight))
        return Registered(self._thread, registered)

    def on_status(self, handler: Callable[[str], object]) -> Off:
        """Calls `handler("up")` or `handler("down")` when that changes. Returns what ends it."""
        in_turn = _InTurn(self._runner, handler)
        tell = self._runner.tell
        return self._client.on_status(lambda status: self._thread.soon(lambda: tell("a handler", in_turn, status)))

    def members(self) -> List[MemberInfo]:
        """Who else is there."""

        async def listed() -> List[MemberInfo]:
            return self._client.members()

        return list(self._thread.run(listed))

    def close(self, timeout: Duration = 10.0) -> None:
        """Withdraws everything, finishes what is under way (for so long at most), and leaves nothing behind."""
        try:
            self._thread.run(lambda: self._client.close(timeout))
        except CallError:
            # It was closed before.
            return
        self._thread.close()
        self._runner.join()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(
    *,
    redis: Optional[str] = None,
    key: Union[str, bytes, None] = None,
    prefix: Optional[str] = None,
    name: str = "program",
    timeout: Duration = 6.0,
    call_timeout: Duration = 60.0,
    socket: Optional[str] = None,
    project: Optional[str] = None,
    threads: int = 32,
    **unknown: NoReturn,
) -> Client:
    """Joins a fabric (`redis` and `key`), or attaches to an orchestrator (`socket`, or `project`).

    `timeout` is how long a member may be silent, `call_timeout` how long a call may take unless it says so itself;
    `threads` is how many plain functions of services and handlers run at one time.
    """
    refuse_unknown(unknown)
    runner = _Threads(threads)
    thread = _Thread()

    async def connected() -> _client.Client:
        client = make(redis, key, prefix, name, timeout, call_timeout, socket, project, runner)
        await client.start()
        return client

    try:
        return Client(thread, runner, thread.run(connected))
    except BaseException:
        thread.close()
        runner.close()
        raise


def _result(thread: _Thread, begin: Callable[[], _client.Result]) -> Any:
    async def begun() -> Any:
        return await begin()

    result = thread.run(begun)
    return Items(thread, result) if isinstance(result, _Items) else result


def _is_asynchronous(function: Function) -> bool:
    # An object may have a `__call__` that is asynchronous.
    for one in (function, getattr(function, "__call__", None)):
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            return True
    return False
