"""Attached: a program on the host of an orchestrator, over its control socket."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from typing import Any, Dict, List, Optional, Tuple

from .client import Client, Options
from .config import Off
from .errors import CallError
from .lines import Asked, Delivered, Items, Line
from .members import MemberInfo
from .serving import Function, Runner, complain, current
from .values import (
    LONGEST_LINE,
    NOTHING,
    Duration,
    Message,
    Payload,
    check_service,
    decode,
    frame,
    milliseconds,
    parse_line,
)
from .waiting import cancel, to_the_end, within

HEAD = b"GET /v1/attach HTTP/1.1\r\nHost: orchestrator\r\nConnection: Upgrade\r\nUpgrade: orchestrator-link\r\n\r\n"

# How long the orchestrator gives a call that says nothing of it, in milliseconds.
DEFAULT_TIMEOUT = 60_000

# The orchestrator knows better why there is no answer, so it may say so first.
MARGIN = 0.5


def socket_of(project: str) -> str:
    """Where the control socket of a user's project is."""
    check_service(project, "the name of a project")
    uid = os.getuid()
    root = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    if not os.environ.get("XDG_RUNTIME_DIR") and not os.path.isdir(root):
        root = "/run" if uid == 0 else ""
    folder = os.path.join(root, "orchestrator") if root else f"{tempfile.gettempdir()}/orchestrator-{uid}"
    return os.path.join(folder, project, "control.sock")


class Attached(Client):
    """A program that is attached to an orchestrator."""

    def __init__(
        self, path: str, name: str, timeout: Duration, call_timeout: Duration, runner: Optional[Runner]
    ) -> None:
        super().__init__(name, call_timeout, runner)
        self.path = os.fspath(path)
        self.project = ""
        self._timeout = milliseconds(timeout, "timeout") / 1000
        self._line: Optional[Line] = None
        self._written: List[bytes] = []
        self._wake: asyncio.Event
        self._lost: Optional[asyncio.Future[str]] = None
        self._rev = 0
        self._offers: Dict[int, asyncio.Future[None]] = {}

    def members(self) -> List[MemberInfo]:
        """The orchestrator's project."""
        return [MemberInfo(self.project, "project", "", "", {})] if self.status == "up" else []

    # The connection.

    async def _live(self, first: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        try:
            reader, writer = await within(self._upgrade(), self._timeout)
        except (OSError, asyncio.TimeoutError, EOFError, ValueError) as error:
            what = str(error) or "it does not answer"
            raise CallError(f"there is no orchestrator to attach to at {self.path}: {what}", "unavailable") from None
        self._written, self._wake = [], asyncio.Event()
        self._lost = lost = loop.create_future()
        self._line = line = Line(self._say, self._late)
        tasks = [loop.create_task(self._guarded(one)) for one in (self._read(reader), self._write(writer))]
        try:
            await self._begin(lost)
            self._become("up")
            if not first.done():
                first.set_result(None)
            raise CallError(f"the connection to the orchestrator was lost: {await lost}", "unavailable")
        except CallError as error:
            line.end(error)
            raise
        finally:
            line.end(CallError("the connection to the orchestrator was closed", "unavailable"))
            self._become("down")
            await to_the_end(self._hang_up(tasks, writer))

    async def _hang_up(self, tasks: List[asyncio.Task[None]], writer: asyncio.StreamWriter) -> None:
        await cancel(tasks)
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            # It was lost already.
            pass

    async def _upgrade(self) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=LONGEST_LINE + 1)
        try:
            writer.write(HEAD)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status = head.split("\r\n", 1)[0].split(" ")
            if len(status) < 2 or status[1] != "101":
                raise ValueError(await _refusal(head, reader))
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def _begin(self, lost: asyncio.Future[str]) -> None:
        """Says again what the program offers and hears."""
        offer = asyncio.ensure_future(self._offer())
        try:
            await asyncio.wait((offer, lost), return_when=asyncio.FIRST_COMPLETED)
        finally:
            offer.cancel()
        if lost.done():
            raise CallError(f"the orchestrator has hung up: {lost.result()}", "unavailable")
        offer.result()
        for event, group in self._listeners.keys():
            self._spawn(self._quietly(self._subscribed("subscribe", event, group)))
        for service in self._watchers.services():
            self._spawn(self._quietly(self._ask({"type": "watch-config", "service": service})))

    async def _quietly(self, work: Any) -> None:
        try:
            await work
        except CallError as error:
            if error.code != "unavailable":
                complain("what was to be heard again", error)

    async def _guarded(self, work: Any) -> None:
        why = "it has hung up"
        try:
            await work
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            if not isinstance(error, EOFError):
                why = str(error) or type(error).__name__
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(why)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        count = 0
        while True:
            line = await reader.readuntil(b"\n")
            message, size = parse_line(line)
            data = await reader.readexactly(size) if size else b""
            self._hear(message, data)
            count += 1
            if count % 16 == 0:
                # What is in the buffer already comes without a pause, and others want their turn.
                await asyncio.sleep(0)

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            written, self._written = self._written, []
            writer.write(b"".join(written))
            await writer.drain()

    def _say(self, message: Message, payload: Payload, _: Optional[Delivered] = None) -> None:
        self._written.append(frame(message, payload))
        self._wake.set()

    async def _leave(self) -> None:
        # What was said last goes before the connection does.
        for _ in range(100):
            if not self._written or self.status != "up":
                return
            await asyncio.sleep(0.01)

    def _hear(self, message: Message, data: bytes) -> None:
        kind, line = message["type"], self._line
        if line is None or line.hear(message, data):
            return
        if kind == "invoke":
            self._server.begin(line, str(message["service"]), message, data, str(message["from"]))
        elif kind == "event":
            value = decode(data, message.get("json"))
            groups = map(str, message.get("groups", ()))
            everybody = message.get("all") is True
            taken: Message = {"type": "taken", "events": 1}
            done = lambda: line.say(taken)  # noqa: E731
            self._listeners.hear(str(message["event"]), everybody, groups, value, str(message["from"]), done)
        elif kind == "config":
            value = decode(data, message.get("json"))
            self._tell_watchers(str(message["service"]), str(message["name"]), value)
        elif kind == "accepted":
            self.project = str(message.get("name", ""))
            self._settle_offer(message, None)
        elif kind == "refused":
            told = message.get("error")
            told = told if isinstance(told, dict) else {}
            why = CallError(str(told.get("message", "")), str(told.get("code", "denied")))
            self._settle_offer(message, why)

    # Services of its own.

    def _settle_offer(self, message: Message, error: Optional[CallError]) -> None:
        future = self._offers.pop(message["rev"], None)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    async def _offer(self) -> None:
        line = self._line
        if line is None or line.over is not None:
            return
        self._rev += 1
        rev = self._rev
        self._offers[rev] = future = asyncio.get_running_loop().create_future()
        services = [offer.described() for offer in self._server.offers.values()]
        line.say({"type": "offer", "rev": rev, "name": self.name, "services": services})
        try:
            await asyncio.wait({future}, timeout=self._timeout)
            if not future.done():
                raise CallError("the orchestrator has not answered an offer in time", "timeout")
            future.result()
        finally:
            self._offers.pop(rev, None)

    async def _offered(self) -> None:
        # Where there is no connection at present, the next one begins with it.
        if self.status == "up":
            await self._offer()

    async def _withdrawn(self) -> None:
        for event, group in self._listeners.keys():
            await self._subscribed("unsubscribe", event, group)
        await self._offer()

    # What is asked of the orchestrator.

    def _up(self) -> Line:
        if self._line is None or self._line.over is not None:
            raise CallError(f"there is no connection to the orchestrator at {self.path}", "unavailable")
        return self._line

    async def _ask(self, message: Message, payload: Payload = NOTHING) -> Any:
        asked = self._up().ask(message, payload)
        asked.expire(asyncio.get_running_loop().time() + self._call_timeout / 1000, "there was no answer in time")
        return await self._answer(asked)

    async def _answer(self, asked: Asked) -> Any:
        try:
            return await asked.future
        except asyncio.CancelledError:
            asked.cancel()
            raise

    async def _call(self, kind: str, service: str, method: str, payload: Payload, options: Options) -> Any:
        loop = asyncio.get_running_loop()
        deadline = self.deadline(options)
        left = options.retries
        invocation = current()
        while True:
            if self.status != "up" and options.retries != 0:
                await self._connected(deadline)
            line = self._up()
            message: Message = {"type": kind, "service": service, "method": method}
            if options.timeout is not None or self._call_timeout > DEFAULT_TIMEOUT:
                # Where nobody has chosen one, a stream may take longer than the call that it answers.
                message["timeout"] = max(1, round((deadline - loop.time()) * 1000))
            if left != 0:
                message["retries"] = left
            if options.attempt is not None:
                message["attempt"] = options.attempt
            if options.key is not None:
                message["key"] = options.key
            if invocation is not None and line.serving.get(invocation.id) is invocation:
                message["within"] = invocation.id
            asked = line.ask(message, payload, service)
            asked.expire(deadline + MARGIN, "there was no answer in time")
            try:
                result = await self._answer(asked)
            except CallError:
                # What the orchestrator answers is its last word. Only a lost connection is for this side to mend.
                if line.over is None or left == 0:
                    raise
                left -= left > 0
                continue
            if isinstance(result, Items):
                asked.last()
                if options.timeout is not None:
                    asked.expire(deadline + MARGIN, "it did not end in time")
            return result

    async def _connected(self, deadline: float) -> None:
        """Waits for a connection, as long as there is time."""
        loop = asyncio.get_running_loop()
        while self.status != "up":
            left = deadline - loop.time()
            if left <= 0 or not await self._until_changed(left):
                raise CallError("there was no answer in time", "timeout")

    async def _emit(self, event: str, payload: Payload) -> int:
        return int(await self._ask({"type": "emit", "event": event}, payload))

    async def _subscribed(self, kind: str, event: str, group: Optional[str]) -> None:
        if self._line is None or self._line.over is not None:
            return
        await self._ask({"type": kind, "event": event, **({} if group is None else {"group": group})})

    async def get_config(self, service: str, name: str) -> Any:
        return await self._ask({"type": "get-config", "service": service, "name": name})

    async def set_config(self, service: str, name: str, value: Optional[Payload]) -> None:
        await self._ask({"type": "set-config", "service": service, "name": name}, value or NOTHING)

    async def watch_config(self, service: str, watcher: Function) -> Off:
        if self._watchers.add(service, watcher):
            try:
                await self._ask({"type": "watch-config", "service": service})
            except BaseException:
                self._watchers.remove(service, watcher)
                raise

        async def off() -> None:
            # The orchestrator tells on; without a watcher nothing comes of it.
            self._watchers.remove(service, watcher)

        return off


async def _refusal(head: str, reader: asyncio.StreamReader) -> str:
    """What the orchestrator answers instead of letting a program attach."""
    status = " ".join(head.split("\r\n", 1)[0].split(" ")[1:]) or "something else than HTTP"
    length = re.search(r"\r\ncontent-length: *([0-9]{1,6})\r\n", head, re.IGNORECASE)
    body = await reader.readexactly(int(length[1])) if length else b""
    try:
        why = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        why = ""
    return f"it answers {status}" + (f": {why}" if why else "")
