"""Serving: which functions are the methods of a service, how they are called, and who hears events."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import sys
import time
import traceback
import types
from typing import Any, AsyncGenerator, Callable, Dict, Generator, Iterable, Iterator, List, Optional, Set, Tuple

from .errors import CODES, CallError
from .lines import Line, Served
from .values import NOTHING, Message, Payload, check_pattern, covers, decode, encode, takes

Function = Callable[..., Any]

DEPTH = 8
MOST_EVENTS = 1024
LONGEST_TEXT = 64 * 1024

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_current: contextvars.ContextVar[Optional[Invocation]] = contextvars.ContextVar("orchestrator.invocation", default=None)


class Invocation(Served):
    """A call that is served: its `method`, who made it, and until when it has time (of time.monotonic())."""

    def __init__(
        self, number: int, method: str, caller: str, timeout: int, one_way: bool, attached: bool = False
    ) -> None:
        super().__init__()
        self.id = number
        self.method = method
        self.caller = caller
        self.deadline = time.monotonic() + timeout / 1000
        self.one_way = one_way
        self.attached = attached
        self.streams = False
        # The calls that are made in order to answer it.
        self.nested: Set[asyncio.Task[Any]] = set()

    def cancel(self) -> None:
        super().cancel()
        for task in self.nested:
            task.cancel()


def current() -> Optional[Invocation]:
    """The call that is served here, with `caller`, `method` and `deadline`; None outside of one."""
    return _current.get()


# --- methods ---


def methods_of(found: object) -> Dict[str, Function]:
    """The methods in a dict, a module or an object, by their names; those of nested ones with dots."""
    methods = _nested("", found, DEPTH)
    if not methods:
        raise ValueError("there is no method in it: give a dict of functions, or an object or module that has some")
    for name in methods:
        check_pattern(name, star=False)
    return methods


def _nested(prefix: str, found: object, depth: int) -> Dict[str, Function]:
    methods: Dict[str, Function] = {}
    for name, value in _members(found):
        name = prefix + name
        if isinstance(value, property):
            methods[name] = _getter(found, value)
        elif callable(value) and not isinstance(value, type):
            methods[name] = value
        elif depth > 1 and (isinstance(value, dict) or _is_namespace(value)):
            methods.update(_nested(name + ".", value, depth - 1))
        elif isinstance(found, dict):
            raise ValueError(f"{name!r} is neither a function nor a dict of functions, but {value!r}")
    return methods


def _members(found: object) -> Iterator[Tuple[str, Any]]:
    """What an object has by name; of a property the property itself, which is not asked yet."""
    if isinstance(found, dict):
        yield from ((str(name), value) for name, value in found.items())
        return
    if isinstance(found, types.ModuleType):
        listed = getattr(found, "__all__", None)
        for name in listed if listed is not None else vars(found):
            value = getattr(found, name)
            own = getattr(value, "__module__", None) == found.__name__ or _is_namespace(value)
            if listed is not None or (own and not name.startswith("_")):
                yield name, value
        return
    if isinstance(found, type):
        raise ValueError(f"{found.__name__} is a class: give an object of it")
    mine = dict(vars(found)) if hasattr(found, "__dict__") else {}
    of_class: Dict[str, Any] = {}
    if not isinstance(found, types.SimpleNamespace):
        for kind in reversed(type(found).__mro__[:-1]):
            of_class.update(vars(kind))
    for name in [*mine, *(name for name in of_class if name not in mine)]:
        if not name.startswith("_"):
            general = None if name in mine else of_class[name]
            yield name, general if isinstance(general, property) else getattr(found, name)


def _is_namespace(value: object) -> bool:
    """A SimpleNamespace, or an object of a class that somebody has written in Python for this."""
    if isinstance(value, types.SimpleNamespace):
        return True
    if isinstance(value, (type, types.ModuleType, BaseException)) or callable(value):
        return False
    return hasattr(value, "__dict__") and type(value).__module__ not in sys.builtin_module_names


def _getter(owner: object, found: property) -> Function:
    return lambda: found.__get__(owner)


class Runner:
    """Calls functions of the program on the event loop. The plain face has one that calls them in threads."""

    async def call(self, function: Function, *values: Any) -> Any:
        result = function(*values)
        return await result if inspect.isawaitable(result) else result

    async def each(self, values: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
        """The items of a generator, with room for others between them."""
        try:
            for value in values:
                yield value
                await asyncio.sleep(0)
        finally:
            values.close()

    async def tell(self, what: str, handler: Function, *values: Any) -> None:
        """Calls a handler with as many of the values as it takes. What it throws is nobody else's business."""
        try:
            await self.call(handler, *values[: takes(handler, len(values))])
        except Exception as error:
            complain(what, error)

    def close(self) -> None:
        """Nothing is called any more."""


# --- services ---


class Offer:
    """A service that this program has registered: its methods, and the calls that are under way."""

    def __init__(self, name: str, methods: Dict[str, Function], max_in_flight: int) -> None:
        self.name = name
        self.methods = methods
        self.max_in_flight = max_in_flight
        self.running: Set[Invocation] = set()
        self.closed = False

    def described(self) -> Dict[str, Any]:
        return {"name": self.name, "methods": sorted(self.methods)}


class Server:
    """The services of this program, whoever calls them."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.offers: Dict[str, Offer] = {}
        self.running: Dict[Invocation, Tuple[Line, Offer]] = {}

    def load(self) -> Dict[str, int]:
        """How many calls of each service are under way, where there are any."""
        return {name: len(offer.running) for name, offer in self.offers.items() if offer.running}

    def begin(self, line: Line, service: str, message: Message, data: bytes, caller: str) -> None:
        """Somebody calls a method."""
        number, method = message["id"], str(message["method"])
        attached = message["type"] == "invoke"
        offer = self.offers.get(service)

        def refuse(code: str, why: str) -> None:
            _fail(line, number, CallError(why, code, service, method), attached, not_run=True)

        if offer is None or offer.closed:
            return refuse("unavailable", f"this program does not offer {service}")
        function = offer.methods.get(method)
        if function is None:
            return refuse("not-found", f"{service} has no method '{method}'")
        if len(offer.running) >= offer.max_in_flight:
            return refuse("overloaded", f"it has {offer.max_in_flight} calls under way, which is the most")
        if number in line.serving:
            raise ValueError("two calls of one number could not be told apart")
        try:
            arguments = decode(data, message.get("json"))
            if not isinstance(arguments, (list, type(None))):
                raise ValueError("the arguments of a call are a list")
        except ValueError as error:
            return refuse("service-error", f"its arguments cannot be read: {error}")
        one_way = message["type"] == "send" or message.get("one_way") is True
        invocation = Invocation(number, method, caller, int(message.get("timeout", 60_000)), one_way, attached)
        offer.running.add(invocation)
        self.running[invocation] = (line, offer)
        if message["type"] == "send":
            # Its caller only wants to know that it was taken, and it runs to its end without its caller.
            line.say({"type": "reply", "id": number})
        else:
            line.serving[number] = invocation
        work = self._serve(invocation, line, offer, function, arguments or [])
        invocation.task = asyncio.get_running_loop().create_task(work)
        invocation.task.add_done_callback(lambda _: self._done(invocation))

    def _done(self, invocation: Invocation) -> None:
        line, offer = self.running.pop(invocation)
        offer.running.discard(invocation)
        if line.serving.get(invocation.id) is invocation:
            del line.serving[invocation.id]

    async def _serve(
        self, invocation: Invocation, line: Line, offer: Offer, function: Function, arguments: List[Any]
    ) -> None:
        _current.set(invocation)

        def fail(error: CallError) -> None:
            if line.serving.get(invocation.id) is invocation:
                _fail(line, invocation.id, error, invocation.attached)

        try:
            result = await self._runner.call(function, *arguments)
            if inspect.isasyncgen(result) or inspect.isgenerator(result):
                if invocation.one_way:
                    await self._exhaust(result)
                else:
                    await self._stream(invocation, line, result)
                    return self._answer(invocation, line, "end")
            self._answer(invocation, line, "reply", NOTHING if invocation.one_way else encode(result))
        except asyncio.CancelledError:
            fail(CallError("it was cancelled", "cancelled", offer.name, invocation.method))
        except Exception as error:
            if not invocation.one_way:
                return fail(_thrown(error, offer.name, invocation.method))
            complain(f"{invocation.method}, called by {invocation.caller}, who wants no result,", error)
            self._answer(invocation, line, "reply")

    @staticmethod
    def _answer(invocation: Invocation, line: Line, kind: str, payload: Payload = NOTHING) -> None:
        """Says something of a call, unless nobody wants it any more."""
        if line.serving.get(invocation.id) is invocation:
            line.say({"type": kind, "id": invocation.id}, payload)

    async def _stream(self, invocation: Invocation, line: Line, values: Any) -> None:
        invocation.streams = True
        self._answer(invocation, line, "stream")
        items = values if inspect.isasyncgen(values) else self._runner.each(values)
        try:
            async for value in items:
                payload = encode(value)
                await invocation.room()
                self._answer(invocation, line, "item", payload)
        finally:
            await items.aclose()

    async def _exhaust(self, values: Any) -> None:
        async for _ in values if inspect.isasyncgen(values) else self._runner.each(values):
            pass

    async def drain(self, offers: Iterable[Offer], timeout: float) -> None:
        """Waits for what is under way. Streams have no end, so they get one; what takes longer is cancelled, too."""
        wanted = list(offers)
        for invocation, (line, offer) in list(self.running.items()):
            if offer in wanted and invocation.streams:
                self.interrupt(invocation, line, offer, "the program that sent it closes")
        await self._wait(wanted, timeout)
        for invocation, (line, offer) in list(self.running.items()):
            if offer in wanted:
                self.interrupt(invocation, line, offer, "the program that ran it has closed")
        await self._wait(wanted, timeout)

    async def _wait(self, offers: List[Offer], timeout: float) -> None:
        mine = asyncio.current_task()
        tasks = [one.task for one, (_, offer) in self.running.items() if offer in offers and one.task]
        # A method may close its own service, and cannot wait for itself.
        waited = [task for task in tasks if task is not mine]
        if waited:
            await asyncio.wait(waited, timeout=timeout)

    def interrupt(self, invocation: Invocation, line: Line, offer: Offer, why: str) -> None:
        if line.serving.pop(invocation.id, None) is not None:
            error = CallError(why, "unavailable", offer.name, invocation.method)
            _fail(line, invocation.id, error, invocation.attached)
        invocation.cancel()


def _fail(line: Line, number: int, error: CallError, attached: bool, not_run: bool = False) -> None:
    told = error.told()
    message: Message = {"type": "error", "id": number, "error": told}
    if attached:
        # The host protocol has the code beside the error, and knows itself which method it was.
        told = {"name": error.remote_name or "Error", "message": error.message, "stack": error.remote_stack}
        message = {"type": "error", "id": number, "error": told, "code": error.code}
        if error.code == "service-error":
            del message["code"]
    elif not_run:
        message["not_run"] = True
    line.say(message)


def _thrown(error: Exception, service: str, method: str) -> CallError:
    """What somebody's method has thrown, as its caller hears of it."""
    if isinstance(error, CallError) and error.code in CODES:
        code, text = error.code, error.message
    else:
        code, text = "service-error", _message(error)
    return CallError(text, code, service, method, type(error).__name__, _stack(error))


def _message(error: BaseException) -> str:
    try:
        return _well_formed(str(error))
    except Exception:
        return ""


def _well_formed(text: str) -> str:
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode()


def _stack(error: BaseException) -> str:
    """The frames of the program's own files, the innermost first, and those of the causes."""
    lines = _frames(error)
    cause = error.__cause__
    for _ in range(4):
        if cause is None:
            break
        lines += [f"caused by {type(cause).__name__}: {_message(cause)}", *_frames(cause)]
        cause = cause.__cause__
    return _well_formed("\n".join(lines))


def _frames(error: BaseException) -> List[str]:
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return [f"at {one.name} ({one.filename}:{one.lineno})" for one in frames if not one.filename.startswith(_HERE)]


def complain(what: str, error: BaseException) -> None:
    """Tells on standard error of what nobody else would hear of."""
    stack = _stack(error)
    behind = f"\n{stack}" if stack else ""
    print(f"{what} threw {type(error).__name__}: {_message(error)}{behind}", file=sys.stderr, flush=True)


# --- events ---


class Listeners:
    """The handlers of events, by pattern and group."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._handlers: Dict[Tuple[str, Optional[str]], List[Function]] = {}
        self._tasks: Set[asyncio.Task[None]] = set()
        # Events that came while there were too many already.
        self.lost = 0

    def keys(self) -> List[Tuple[str, Optional[str]]]:
        return list(self._handlers)

    def add(self, event: str, group: Optional[str], handler: Function) -> bool:
        """Whether it is the first one for this event and group."""
        handlers = self._handlers.setdefault((event, group), [])
        handlers.append(handler)
        return len(handlers) == 1

    def remove(self, event: str, group: Optional[str], handler: Function) -> bool:
        """Whether it was the last one for this event and group."""
        handlers = self._handlers.get((event, group), [])
        if handler in handlers:
            handlers.remove(handler)
            if not handlers:
                del self._handlers[event, group]
                return True
        return False

    def hear(
        self, event: str, everybody: bool, groups: Iterable[str], data: Any, caller: str, done: Callable[[], None]
    ) -> None:
        """An event has come. `done` is called when all handlers have dealt with it."""
        chosen = set(groups)
        wanted: List[Function] = []
        for (pattern, group), handlers in self._handlers.items():
            if covers(pattern, event) and (everybody if group is None else group in chosen):
                wanted += [handler for handler in handlers if handler not in wanted]
        if len(self._tasks) >= MOST_EVENTS:
            self.lost += 1
            return done()
        task = asyncio.get_running_loop().create_task(self._tell(wanted, event, data, caller, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(
        self, handlers: List[Function], event: str, data: Any, caller: str, done: Callable[[], None]
    ) -> None:
        for handler in handlers:
            await self._runner.tell(f"a handler of {event}", handler, data, {"event": event, "from": caller})
        done()

    async def close(self, timeout: float) -> None:
        mine = asyncio.current_task()
        waited = [task for task in self._tasks if task is not mine]
        if waited:
            _, left = await asyncio.wait(waited, timeout=timeout)
            for task in left:
                task.cancel()

