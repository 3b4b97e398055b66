"""The fabric: a program that is a member of it, over Redis."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import socket
from typing import Any, Dict, List, Optional, Set, Tuple, Union

from .client import Client, Options
from .config import MOST_VALUES, Off
from .errors import CallError
from .lines import Items
from .members import Group, Member, MemberInfo, Turns
from .packets import TAG, Guard, Seal
from .serving import Function, Runner
from .session import Session
from .values import NOTHING, Duration, Message, Payload, decode, milliseconds
from .waiting import to_the_end
from .wire import FAILURES, Wire

SHORTEST_KEY = 32
AGAIN = ("unavailable", "overloaded")

_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Fabric(Client):
    """A member of the fabric."""

    def __init__(
        self,
        redis: str,
        key: Union[str, bytes, None],
        prefix: str,
        name: str,
        timeout: Duration,
        call_timeout: Duration,
        runner: Optional[Runner],
    ) -> None:
        super().__init__(name, call_timeout, runner)
        secret = key.encode() if isinstance(key, str) else key
        if not isinstance(secret, bytes) or len(secret) < SHORTEST_KEY:
            has = f"this one has {len(secret)}" if isinstance(secret, bytes) else "there is none"
            raise ValueError(f"key is the fabric's shared key, of {SHORTEST_KEY} bytes or more; {has}")
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise ValueError(f"prefix has 1 to 64 letters, digits, '.', '_', ':' and '-', not {prefix!r}")
        self._timeout = milliseconds(timeout, "timeout") / 1000
        self._wire = Wire(redis, self._timeout)
        self._prefix = prefix
        self._channels = f"{prefix}:{self._wire.database}"
        self._seal = Seal(secret, prefix, self._wire.database)
        self._guard = Guard()
        self._turns = Turns()
        self._host = socket.gethostname()
        self._session: Optional[Session] = None
        self._was: Optional[str] = None
        # What the values of a watched configuration were, to find out what has changed while nothing was heard.
        self._known: Dict[str, Dict[str, bytes]] = {}
        self._just_heard: Set[Tuple[str, str]] = set()

    def members(self) -> List[MemberInfo]:
        """Who else is there."""
        session = self._session
        if session is None:
            return []
        members = (member for member in session.members.values() if member.session != session.id)
        return [member.info() for member in members if member.rev is not None]

    # The connection.

    async def _live(self, first: asyncio.Future[None]) -> None:
        seal, guard, channels = self._seal, self._guard, self._channels
        session = Session(self, self._wire, seal, guard, channels, self.name, self._timeout)
        self._session = session
        try:
            try:
                await session.open(self._was)
            except FAILURES as error:
                what = str(error) or "it does not answer"
                why = f"there is no Redis to speak with at {self._wire.address}: {what}"
                raise CallError(why, "unavailable") from None
            finally:
                self._was = session.id
            if session.over is not None:
                raise session.over
            self._become("up")
            if not first.done():
                first.set_result(None)
            for service in self._watchers.services():
                self._spawn(self._look_again(service))
            raise await session.ended
        finally:
            self._become("down")
            await to_the_end(session.close())

    async def _leave(self) -> None:
        if self._session is not None and self._session.over is None:
            await self._session.leave()

    def _up(self) -> Session:
        session = self._session
        if self.status != "up" or session is None or session.over is not None:
            raise CallError(f"there is no connection to Redis at {self._wire.address}", "unavailable")
        return session

    # What a session asks of its owner.

    def about(self) -> Message:
        listening = [] if self._closing else self._listeners.keys()
        hears = [
            {"service": self.name, "event": event, **({} if group is None else {"group": group})}
            for event, group in listening
        ]
        services = [
            {**offer.described(), "replicas": 1, "load": len(offer.running)} for offer in self._server.offers.values()
        ]
        return {"name": self.name, "kind": "program", "host": self._host, "services": services, "hears": hears}

    def load(self) -> Dict[str, int]:
        return self._server.load()

    def hear(self, member: Member, message: Message, data: bytes) -> None:
        kind = message["type"]
        if kind in ("call", "send"):
            caller = f"{message['from']}@{member.name}"
            self._server.begin(member.line, str(message["service"]), message, data, caller)
        elif kind == "event":
            value = decode(data, message.get("json"))
            groups = [group for service, group in message.get("groups", ()) if service == self.name]
            caller = f"{message['from']}@{member.name}"
            everybody = message.get("all") is True
            self._listeners.hear(str(message["event"]), everybody, groups, value, caller, lambda: None)
        elif kind == "config":
            self._config_changed(str(message["service"]), str(message["name"]), data)

    def refused(self, kind: str) -> None:
        self._counts[kind] += 1

    def members_changed(self) -> None:
        self._changed()

    async def _offered(self) -> None:
        # Where there is no session at present, the next one says it.
        if self._session is not None and self._session.over is None:
            self._session.offer_again()

    async def _withdrawn(self) -> None:
        await self._offered()

    async def _subscribed(self, kind: str, event: str, group: Optional[str]) -> None:
        await self._offered()

    # Calls.

    async def _call(self, kind: str, service: str, method: str, payload: Payload, options: Options) -> Any:
        loop = asyncio.get_running_loop()
        deadline = self.deadline(options)
        left = options.retries
        tried: Set[str] = set()
        failure: Optional[CallError] = None
        paid, rounds = False, 0
        while True:
            able = self._able(service, method, waits=options.retries != 0)
            fresh = [member for member in able if member.session not in tried]
            if fresh:
                member = self._turns.member(fresh, service, options.key)
            elif able:
                # Everybody was tried. What nobody has done may be tried in another round, if a retry is left for it.
                if not paid:
                    if left == 0 or failure is None or failure.code not in AGAIN:
                        raise failure or CallError(f"nobody offers {service}", "unavailable")
                    left -= left > 0
                tried.clear()
                paid, rounds = False, rounds + 1
                pause = random.uniform(0.5, 1) * min(1.0, 0.01 * 2 ** min(rounds, 10))
                await self._pause(pause, deadline)
                continue
            elif options.retries == 0:
                raise failure or self._nobody(service)
            else:
                await self._pause(None, deadline)
                continue
            tried.add(member.session)
            now = loop.time()
            message: Message = {"type": kind, "service": service, "method": method, "from": "@program"}
            message["timeout"] = max(1, round((deadline - now) * 1000))
            if options.key is not None:
                message["key"] = options.key
            asked = member.line.ask(message, payload, service)
            until = deadline if options.attempt is None else min(deadline, now + options.attempt / 1000)
            whole = until == deadline
            asked.expire(until, "there was no answer in time" if whole else "no attempt was answered in time")
            try:
                result = await asked.future
            except asyncio.CancelledError:
                asked.cancel()
                raise
            except CallError as error:
                failure = error
                if asked.not_run:
                    paid = False
                    continue
                if left == 0 or not (error.code in AGAIN or (asked.late and not whole)):
                    raise
                left -= left > 0
                paid = True
                continue
            if isinstance(result, Items):
                # A stream may take long: only a time-out that somebody has chosen holds for all of it.
                asked.last()
                if options.timeout is not None:
                    asked.expire(deadline, "it did not end in time")
            return result

    def _able(self, service: str, method: str, waits: bool) -> List[Member]:
        """Who could be called."""
        session = self._session
        if self.status != "up" or session is None or session.over is not None:
            return []
        offering = [member for member in session.members.values() if service in member.services]
        able = [member for member in offering if method in member.services[service].methods]
        if offering and not able:
            raise CallError(f"{service} has no method '{method}'", "not-found")
        return able

    def _nobody(self, service: str) -> CallError:
        try:
            self._up()
        except CallError as error:
            return error
        return CallError(f"nobody in the fabric offers {service} now", "unavailable")

    async def _pause(self, length: Optional[float], deadline: float) -> None:
        """Waits for so long, or until somebody comes; but not for longer than there is time."""
        left = deadline - asyncio.get_running_loop().time()
        if length is not None and length < left:
            return await asyncio.sleep(length)
        if length is not None:
            await asyncio.sleep(max(0.0, left))
        elif left > 0 and await self._until_changed(left):
            return
        raise CallError("there was no answer in time", "timeout")

    # Events.

    async def _emit(self, event: str, payload: Payload) -> int:
        receivers = 0
        groups: Optional[Set[Group]] = None
        while groups is None or groups:
            session = self._up()
            told = self._turns.listeners(session.members.values(), event, groups)
            wanted = list(told.items())
            sent = [
                self._tell(session, session.members[one], event, everybody, of, payload)
                for one, (everybody, of) in wanted
            ]
            counts = await asyncio.gather(*sent)
            receivers += sum(count > 0 for count in counts)
            # A group whose member was gone without a word has others.
            groups = {group for (_, (_, of)), count in zip(wanted, counts) if count == 0 for group in of}
        return receivers

    async def _tell(
        self, session: Session, to: Member, event: str, everybody: bool, groups: List[Group], payload: Payload
    ) -> int:
        message: Message = {"type": "event", "event": event, "from": "@program", "all": everybody}
        message["groups"] = [list(group) for group in groups]
        message["granted"] = ["*"]
        return await session.deliver(to, message, payload)

    # Configuration.

    def _hash(self, service: str) -> str:
        return f"{self._prefix}:config:{service}"

    def _opened(self, service: str, name: str, value: bytes) -> bytes:
        text = value[TAG:]
        if value[:TAG] != self._seal.tag_value(service, name, text):
            self.refused("forged")
            why = f"the value {name!r} was not set with this fabric's key: set it again, or remove it"
            raise CallError(why, "unavailable", service)
        return text

    async def get_config(self, service: str, name: str) -> Any:
        value = await self._up().command("HGET", self._hash(service), name)
        return None if value is None else decode(self._opened(service, name, value))

    async def set_config(self, service: str, name: str, value: Optional[Payload]) -> None:
        session, key = self._up(), self._hash(service)
        message: Message = {"type": "config", "service": service, "name": name}
        if value is None:
            await session.command("HDEL", key, name)
        else:
            there, count = await asyncio.gather(session.command("HEXISTS", key, name), session.command("HLEN", key))
            if not there and count >= MOST_VALUES:
                raise CallError(f"a service has at most {MOST_VALUES} values in its configuration", "overloaded")
            tagged = self._seal.tag_value(service, name, value.data) + value.data
            await session.command("HSET", key, name, tagged)
        await session.deliver(None, message, value or NOTHING)

    async def watch_config(self, service: str, watcher: Function) -> Off:
        if self._watchers.add(service, watcher):
            try:
                await self._look_again(service)
            except BaseException:
                self._watchers.remove(service, watcher)
                raise

        async def off() -> None:
            self._watchers.remove(service, watcher)
            if not self._watchers.of(service):
                self._known.pop(service, None)

        return off

    def _config_changed(self, service: str, name: str, data: bytes) -> None:
        if not self._watchers.of(service):
            return
        value = decode(data)
        self._just_heard.add((service, name))
        known = self._known.setdefault(service, {})
        if data:
            known[name] = hashlib.sha256(data).digest()
        else:
            known.pop(name, None)
        self._tell_watchers(service, name, value)

    async def _look_again(self, service: str) -> None:
        """Finds out what the values are, and tells of those that have changed since they were last known."""
        self._just_heard = {one for one in self._just_heard if one[0] != service}
        try:
            found = await self._up().command("HGETALL", self._hash(service))
        except CallError:
            # Without a connection there is nothing to be found; the next session looks again.
            return
        known = self._known.get(service)
        now: Dict[str, bytes] = {}
        changed: List[Tuple[str, Any]] = []
        for field, value in zip(found[::2], found[1::2]):
            name = field.decode("utf-8", "replace")
            try:
                text = self._opened(service, name, value)
                now[name] = hashlib.sha256(text).digest()
                if known is not None and known.get(name) != now[name]:
                    changed.append((name, decode(text)))
            except (CallError, ValueError):
                # Nobody of the fabric has written it, so it is not heard.
                continue
        changed += [(name, None) for name in known or () if name not in now]
        for name, value in changed:
            # What was heard while this was on its way is newer.
            if (service, name) not in self._just_heard:
                self._tell_watchers(service, name, value)
        if known is not None:
            now = {**now, **{name: known[name] for one, name in self._just_heard if one == service and name in known}}
        self._known[service] = now
