"""What a service says to other services and hears from them: docs/host-protocol.md, "Between services".

Everything here runs on the service's event loop, but for what a thread of its own may call: it is handed over.
"""

import asyncio
import contextvars
import inspect
import itertools
import json
import re
import sys
import time

STREAM_WINDOW = 8
CODES = ("timeout", "unavailable", "denied", "not-found", "overloaded", "too-large", "service-error", "cancelled")
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}

_current = contextvars.ContextVar("orchestrator.invocation", default=None)


class ServiceError(Exception):
    """Why a call has no result: `code`, `service`, `method`, and what was thrown there, `remote_name`, `remote_stack`."""

    def __init__(self, message="", code="service-error", service="", method="", name="", stack=""):
        super().__init__(f"{service}.{method}: {message}" if service else message)
        self.code = code
        self.service = service
        self.method = method
        self.remote_name = name
        self.remote_stack = stack


# --- payloads ---


def encode(value):
    """The JSON text of a value, and the bytes that go behind it."""
    parts, text = _dump(value, lambda plain: plain)
    if parts and text.count('"$bytes"') != len(parts):
        # A member of the service's own has that name.
        parts, text = _dump(value, _wrapped)
    return text.encode("utf-8", "replace"), parts


def _dump(value, prepare):
    parts, offset = [], 0

    def default(found):
        nonlocal offset
        if not isinstance(found, (bytes, bytearray, memoryview)):
            raise TypeError(f"{type(found).__name__} cannot be sent to another service: it is no JSON and no bytes")
        part = bytes(found)
        parts.append(part)
        offset += len(part)
        return {"$bytes": [offset - len(part), len(part)]}

    text = json.dumps(prepare(value), default=default, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return parts, text


def _wrapped(value):
    if isinstance(value, dict):
        plain = {key: _wrapped(item) for key, item in value.items()}
        return {"$bytes": "plain", "value": plain} if "$bytes" in plain else plain
    if isinstance(value, (list, tuple)):
        return [_wrapped(item) for item in value]
    return value


def decode(payload, length):
    """The value of a payload, of which so many bytes are JSON; None: all of them."""
    if not payload:
        return None
    if length is None:
        return json.loads(payload)
    return _revived(json.loads(payload[:length]), payload[length:])


def _revived(value, behind):
    if isinstance(value, list):
        return [_revived(item, behind) for item in value]
    if not isinstance(value, dict):
        return value
    extent = value.get("$bytes")
    if isinstance(extent, list):
        return behind[extent[0] : extent[0] + extent[1]]
    if extent is not None:
        value = value["value"]
    return {key: _revived(item, behind) for key, item in value.items()}


def milliseconds(value, what):
    """From a number of seconds (as everywhere in Python) or a text such as "1m30s"."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return round(value * 1000)
    parts = re.findall(r"(\d+)(ms|s|m|h)", value) if isinstance(value, str) else []
    if parts and "".join(number + unit for number, unit in parts) == value:
        return sum(int(number) * UNITS[unit] for number, unit in parts)
    raise TypeError(f'{what} is a number of seconds or a text such as "1m30s", not {value!r}')


# --- asking ---


class Result:
    """A result that may be awaited, or gone through with `async for` if it is many."""

    def __init__(self, talk, future):
        self._talk = talk
        self._future = future

    def __await__(self):
        return self._future.__await__()

    async def __aiter__(self):
        items = await self
        if not isinstance(items, Items):
            raise TypeError("the result is no stream: await it")
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()


class Items:
    """The items of a stream that another service sends. `aclose()` tells it that no more are wanted."""

    def __init__(self, talk, number):
        self._talk = talk
        self._number = number
        self._items = asyncio.Queue()
        self._taken = 0
        self._over = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self._over and self._items.empty():
            raise StopAsyncIteration
        kind, value = await self._items.get()
        if kind == "item":
            self._taken += 1
            if self._taken >= STREAM_WINDOW // 2 and not self._over:
                self._talk.say({"type": "credit", "id": self._number, "items": self._taken})
                self._taken = 0
            return value
        if kind == "error":
            raise value
        raise StopAsyncIteration

    async def aclose(self):
        if not self._over:
            self._over = True
            self._talk.forget(self._number)
            self._talk.say({"type": "cancel", "id": self._number})

    def hear(self, kind, value=None):
        if kind != "item":
            self._over = True
            self._talk.forget(self._number)
        self._items.put_nowait((kind, value))


class Method:
    """`services.NAME.method(...)`, `.options(...)`, `.send(...)`, and what lies below."""

    def __init__(self, talk, service, path, options):
        self._talk = talk
        self._service = service
        self._path = path
        self._options = options

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"{self._path}.{name}" if self._path else name
        return Method(self._talk, self._service, path, self._options)

    def __call__(self, *values, **named):
        return self._talk.call("call", self, values, named)

    def options(self, *, timeout=None, retries=None, attempt=None, key=None):
        """The same, with a time-out, so many further attempts, a time-out for each, or a key that chooses a replica."""
        wanted = {"timeout": timeout, "retries": retries, "attempt": attempt, "key": key}
        chosen = {name: value for name, value in wanted.items() if value is not None}
        return Method(self._talk, self._service, self._path, {**self._options, **chosen})

    async def send(self, *values, **named):
        """Calls it without wanting the result; returns when a replica was given it."""
        await self._talk.call("send", self, values, named)

    def about(self, kind):
        message = {"type": kind, "service": self._service, "method": self._path}
        for name in ("timeout", "attempt"):
            if name in self._options:
                message[name] = milliseconds(self._options[name], name)
        if "retries" in self._options:
            message["retries"] = int(self._options["retries"])
        if "key" in self._options:
            message["key"] = str(self._options["key"])
        within = _current.get()
        if within is not None:
            message["within"] = within.id
        return message


class Services:
    """All services, by their names: `services.stock`, `services["web/worker"]`."""

    def __init__(self, talk):
        self._talk = talk

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        # A name of a service has no underscores, and one in Python no hyphens.
        return Method(self._talk, name.replace("_", "-"), "", {})

    def __getitem__(self, name):
        return Method(self._talk, name, "", {})


class Config:
    """The service's own configuration, shared by its replicas and kept for ever."""

    def __init__(self, talk):
        self._talk = talk

    async def get(self, name):
        return await self._talk.request({"type": "get-config", "name": str(name)})

    async def set(self, name, value):
        await self._talk.request({"type": "set-config", "name": str(name)}, value)

    async def remove(self, name):
        await self._talk.request({"type": "set-config", "name": str(name)})

    async def watch(self, watcher):
        """Calls `watcher(name, value)` for every change; a value of None was removed."""
        first = not self._talk.watchers
        self._talk.watchers.append(watcher)
        if first:
            await self._talk.request({"type": "watch-config"})


class Child:
    """A child service that was opened."""

    def __init__(self, talk, name):
        self.name = name
        self.service = Method(talk, name, "", {})
        self._talk = talk

    async def close(self):
        await self._talk.request({"type": "close-child", "service": self.name})


class Children:
    """The services that this one opens below itself."""

    def __init__(self, talk):
        self._talk = talk

    async def create(self, name, **spec):
        """Opens a child: `code` or `plugin`, `permissions`, `limits`, and what else a manifest has for a service."""
        return Child(self._talk, await self._talk.request({"type": "create-child"}, {"name": name, **spec}))


class Invocation:
    """A call that is served: who made it, and until when it has time."""

    def __init__(self, message):
        self.id = message["id"]
        self.method = message["method"]
        self.caller = message["from"]
        self.deadline = time.monotonic() + message["timeout"] / 1000
        self.one_way = message.get("one_way", False)
        self.streams = False
        self.credit = STREAM_WINDOW
        self.more = asyncio.Event()
        self.task = None


_NOTHING = object()


class Talk:
    """Both directions. `send` takes a message, its JSON and the bytes behind it, from any thread."""

    def __init__(self, loop, send, describe):
        self.loop = loop
        self.methods = {}
        self.watchers = []
        self.tasks = set()
        self._send = send
        self._describe = describe
        self._numbers = itertools.count(1)
        self._asked = {}
        self._serving = {}
        self._subscriptions = {}

    # What goes out.

    def say(self, message, value=_NOTHING):
        text, parts = (b"", []) if value is _NOTHING else encode(value)
        self._send(message, text, parts)

    def ask(self, message, value=_NOTHING):
        message["id"] = number = next(self._numbers)
        future = self.loop.create_future()
        self._asked[number] = future
        try:
            self.say(message, value)
        except BaseException:
            del self._asked[number]
            raise
        future.add_done_callback(lambda done: self._given_up(number, done))
        return future

    def _given_up(self, number, future):
        if future.cancelled() and self._asked.pop(number, None) is not None:
            self.say({"type": "cancel", "id": number})

    async def request(self, message, value=_NOTHING):
        return await self.ask(message, value)

    def call(self, kind, method, values, named):
        if named:
            raise TypeError("arguments by name are not sent to other services: pass them in their order, or as a dict")
        return Result(self, self.ask(method.about(kind), list(values)))

    def forget(self, number):
        self._asked.pop(number, None)

    async def emit(self, event, data=None):
        return await self.request({"type": "emit", "event": str(event)}, data)

    async def on(self, event, handler, *, group=None):
        key = (str(event), group)
        if key in self._subscriptions:
            self._subscriptions[key].append(handler)
            return
        self._subscriptions[key] = [handler]
        await self.request(self._about_events("subscribe", key))

    async def off(self, event, handler, *, group=None):
        key = (str(event), group)
        handlers = self._subscriptions.get(key, [])
        if handler in handlers:
            handlers.remove(handler)
            if not handlers:
                del self._subscriptions[key]
                await self.request(self._about_events("unsubscribe", key))

    @staticmethod
    def _about_events(kind, key):
        event, group = key
        return {"type": kind, "event": event, **({} if group is None else {"group": str(group)})}

    async def drain(self):
        """What is under way is finished, but for streams, which have no end."""
        for number, invocation in list(self._serving.items()):
            if invocation.streams:
                del self._serving[number]
                error = {"name": "Error", "message": "the replica that sent it closes", "stack": ""}
                self.say({"type": "error", "id": number, "error": error, "code": "unavailable"})
                invocation.task.cancel()
        waited = [invocation.task for invocation in self._serving.values()]
        if waited:
            await asyncio.wait(waited)

    # What comes in, on the loop.

    def hear(self, message, payload):
        kind, length = message["type"], message.get("json")
        if kind == "invoke":
            self._begin(Invocation(message), payload, length)
        elif kind == "event":
            self._spawn(self._hear_event(message, decode(payload, length)))
        elif kind == "config":
            for watcher in self.watchers:
                self._spawn(self._told("a watcher of the configuration", watcher, message["name"], decode(payload, length)))
        elif kind == "cancel":
            invocation = self._serving.pop(message["id"], None)
            if invocation is not None:
                invocation.task.cancel()
        elif kind == "credit":
            invocation = self._serving.get(message["id"])
            if invocation is not None:
                invocation.credit += message["items"]
                invocation.more.set()
        elif kind in ("reply", "stream", "item", "end", "error"):
            self._answered(kind, message, payload, length)

    def _answered(self, kind, message, payload, length):
        entry = self._asked.get(message["id"])
        if entry is None:
            return
        value = ServiceError(**message["error"]) if kind == "error" else decode(payload, length)
        if isinstance(entry, Items):
            entry.hear("end" if kind == "reply" else kind, value)
        elif kind == "stream":
            self._asked[message["id"]] = items = Items(self, message["id"])
            entry.set_result(items)
        else:
            del self._asked[message["id"]]
            if not entry.done():
                entry.set_exception(value) if kind == "error" else entry.set_result(value)

    def _spawn(self, coroutine):
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _hear_event(self, message, data):
        event, groups = message["event"], message.get("groups", [])
        wanted = []
        for (pattern, group), handlers in self._subscriptions.items():
            chosen = message.get("all", False) if group is None else str(group) in groups
            if chosen and _covers(pattern, event):
                wanted += [handler for handler in handlers if handler not in wanted]
        for handler in wanted:
            await self._told(f"a handler of {event}", handler, data, {"event": event, "from": message["from"]})
        self.say({"type": "taken", "events": 1})

    async def _told(self, what, handler, *values):
        """Calls a handler with as many of the values as it takes."""
        try:
            outcome = handler(*values[: _takes(handler, len(values))])
            if inspect.isawaitable(outcome):
                await outcome
        except Exception as error:
            self._complain(what, error)

    def _complain(self, what, error):
        told = self._describe(error)
        stack = f"\n{told['stack']}" if told["stack"] else ""
        print(f"{what} threw {told['name']}: {told['message']}{stack}", file=sys.stderr, flush=True)

    # Being called.

    def _begin(self, invocation, payload, length):
        method = self.methods.get(invocation.method)
        if method is None:
            error = {"name": "Error", "message": f"there is no method '{invocation.method}'", "stack": ""}
            self.say({"type": "error", "id": invocation.id, "error": error, "code": "not-found"})
            return
        self._serving[invocation.id] = invocation
        invocation.task = self._spawn(self._serve(invocation, method, payload, length))

    async def _serve(self, invocation, method, payload, length):
        _current.set(invocation)
        try:
            result = method(*(decode(payload, length) or []))
            if inspect.isawaitable(result):
                result = await result
            if inspect.isasyncgen(result) or inspect.isgenerator(result):
                await self._stream(invocation, result)
            elif self._serving.pop(invocation.id, None) is not None:
                try:
                    self.say({"type": "reply", "id": invocation.id}, *([] if invocation.one_way else [result]))
                except (TypeError, ValueError) as error:
                    self._serving[invocation.id] = invocation
                    raise error
        except asyncio.CancelledError as error:
            self._thrown(invocation, error)
        except Exception as error:
            self._thrown(invocation, error)

    async def _stream(self, invocation, values):
        invocation.streams = True
        self.say({"type": "stream", "id": invocation.id})
        try:
            async for value in values if inspect.isasyncgen(values) else _each(values):
                while invocation.credit == 0:
                    invocation.more.clear()
                    await invocation.more.wait()
                invocation.credit -= 1
                self.say({"type": "item", "id": invocation.id}, value)
        finally:
            if inspect.isasyncgen(values):
                await values.aclose()
            else:
                values.close()
        if self._serving.pop(invocation.id, None) is not None:
            self.say({"type": "end", "id": invocation.id})

    def _thrown(self, invocation, error):
        if self._serving.pop(invocation.id, None) is None:
            return
        if invocation.one_way:
            self._complain(f"{invocation.method}, called by {invocation.caller}, who wants no result,", error)
            self.say({"type": "reply", "id": invocation.id})
            return
        message = {"type": "error", "id": invocation.id, "error": self._describe(error)}
        if isinstance(error, ServiceError) and error.code in CODES:
            message["code"] = error.code
        self.say(message)


async def _each(values):
    """The items of a generator, with room for others between them."""
    for value in values:
        yield value
        await asyncio.sleep(0)


def _covers(pattern, event):
    if pattern.endswith("*"):
        return len(event) >= len(pattern) and event.startswith(pattern[:-1])
    return pattern == event


def _takes(handler, most):
    """How many of the values a handler takes: `on("x", lambda data: ...)` need not know who told it."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return most
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return most
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return min(most, len(places))


def current():
    """The call that is served here, with `caller`, `method` and `deadline` (of time.monotonic()); None outside of one."""
    return _current.get()
