"""A session: from a connection to Redis until its end, with the members that were heard of in it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from typing import Any, Coroutine, Deque, Dict, List, Optional, Protocol, Set, Tuple

from .errors import CallError
from .lines import Delivered, Line
from .members import Member
from .packets import LONGEST_PACKET, Guard, Header, Refused, Seal, begins_with_over, split
from .serving import complain
from .values import NOTHING, Message, Payload, frame
from .waiting import cancel, within
from .wire import FAILURES, Command, ResponseError, Wire

# How long a session that begins waits for what the others offer: they answer at once, but one may just be dying.
GREETING = 0.5


class Owner(Protocol):
    """What a session needs of the program."""

    def about(self) -> Message:
        """What the program has, as an offer says it."""

    def load(self) -> Dict[str, int]:
        """The calls under way."""

    def hear(self, member: Member, message: Message, data: bytes) -> None:
        """A call, an event or a change of the configuration."""

    def refused(self, kind: str) -> None:
        """A packet was refused, or an answer came too late."""

    def members_changed(self) -> None:
        """Somebody came or went, or offers something else."""


class Session:
    """One session of this program."""

    def __init__(self, owner: Owner, wire: Wire, seal: Seal, guard: Guard, channels: str, name: str, timeout: float):
        self.id = secrets.token_hex(16)
        self.members: Dict[str, Member] = {}
        self.over: Optional[CallError] = None
        self._owner = owner
        self._wire = wire
        self._seal = seal
        self._guard = guard
        self._all = f"{channels}:all"
        self._to = f"{channels}:to:"
        self._name = name
        self._timeout = timeout
        self._rev = 1
        self._seq: Dict[str, int] = {}
        self._queued: Dict[str, List[Tuple[bytes, Optional[Delivered]]]] = {}
        self._flying: Dict[str, Deque[List[Delivered]]] = {}
        self._commands: List[Command] = []
        self._offered: Set[str] = {self.id}
        self._waiting: Set[asyncio.Future[Any]] = set()
        self._tasks: List[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._echo = time.monotonic()
        self.ended: asyncio.Future[CallError] = asyncio.get_running_loop().create_future()

    # Beginning and end.

    async def open(self, was: Optional[str]) -> None:
        """Connects, says hello, and waits a moment for what the others offer."""
        self._wire.renew()
        await self._wire.open([self._all, self._to + self.id])
        loop = asyncio.get_running_loop()
        work = (self._flush(), self._wire.answers(), self._wire.packets(self._heard), self._beat())
        self._tasks = [loop.create_task(self._guarded(one)) for one in work]
        own = self._member(self.id, self._name)
        own.offer(self._offer())
        subscribers = await self.deliver(
            None, {"type": "hello", "name": self._name, **({} if was is None else {"was": was})}
        )
        until = time.monotonic() + GREETING
        while self.over is None and time.monotonic() < until:
            if sum(member.rev is not None for member in self.members.values()) >= subscribers:
                break
            await asyncio.sleep(0.005)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Whatever goes wrong with the connections is the end of the session."""
        try:
            await work
        except FAILURES as error:
            self.end(str(error) or type(error).__name__)
        except Exception as error:
            complain("the connection to the fabric", error)
            self.end(f"{type(error).__name__}: {error}")

    def end(self, why: str) -> None:
        """Everything under way fails."""
        if self.over is not None:
            return
        self.over = CallError(f"the connection to Redis was lost: {why}", "unavailable")
        self.ended.set_result(self.over)
        for member in list(self.members.values()):
            member.line.end(self.over)
        for future in list(self._waiting):
            if not future.done():
                future.set_exception(self.over)
        self._guard.end(self.id)
        self._guard.leave(self._to + self.id)

    async def leave(self) -> None:
        """Says goodbye, once all that was said before has gone."""
        try:
            await within(self.deliver(None, {"type": "bye"}), self._timeout)
        except (CallError, asyncio.TimeoutError):
            # Nobody is there to hear it; the others notice without it, if later.
            pass
        self.end("the program has closed it")

    async def close(self) -> None:
        """Leaves neither a task nor a connection."""
        self.end("the program has closed it")
        await cancel(self._tasks)
        await self._wire.close()

    # What is said.

    def say(
        self, member: Optional[Member], message: Message, payload: Payload, delivered: Optional[Delivered] = None
    ) -> None:
        """Says something to a member, or to all. All that is said in one turn of the loop goes in one packet."""
        if self.over is not None:
            return
        channel = self._all
        if member is not None:
            channel = self._to + member.session
            if member.session not in self._offered:
                # Nobody listens to one that he does not know.
                self._offered.add(member.session)
                self._queue(channel, frame(self._offer()), None)
        self._queue(channel, frame(message, payload), delivered)

    async def deliver(self, member: Optional[Member], message: Message, payload: Payload = NOTHING) -> int:
        """Says something, and returns to how many it came."""
        future = self._future()
        self.say(member, message, payload, lambda count: None if future.done() else future.set_result(count))
        return int(await self._answer(future))

    async def command(self, *args: Any) -> Any:
        """A command of Redis."""
        future = self._future()

        def answered(answer: Any) -> None:
            if not future.done():
                future.set_result(answer)

        self._commands.append((args, answered))
        self._wake.set()
        answer = await self._answer(future)
        if isinstance(answer, ResponseError):
            raise CallError(f"Redis refuses {args[0]}: {answer}", "unavailable")
        return answer

    def _future(self) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        if self.over is not None:
            future.set_exception(self.over)
        self._waiting.add(future)
        return future

    async def _answer(self, future: asyncio.Future[Any]) -> Any:
        try:
            return await future
        finally:
            self._waiting.discard(future)

    def offer_again(self) -> None:
        """What this program offers or hears has changed."""
        self._rev += 1
        offer = self._offer()
        if self.id in self.members:
            self.members[self.id].offer(offer)
        self.say(None, offer, NOTHING)
        self._owner.members_changed()

    def _offer(self) -> Message:
        timeout = round(self._timeout * 1000)
        return {"type": "offer", "v": 1, "rev": self._rev, "timeout": timeout, **self._owner.about()}

    def _queue(self, channel: str, written: bytes, delivered: Optional[Delivered]) -> None:
        self._queued.setdefault(channel, []).append((written, delivered))
        self._wake.set()

    async def _flush(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            queued, self._queued = self._queued, {}
            commands, self._commands = self._commands, []
            for channel, messages in queued.items():
                begin, size = 0, 0
                for index, (written, _) in enumerate(messages):
                    size += len(written)
                    # A packet is full with the message that makes it so.
                    if size >= LONGEST_PACKET or index + 1 == len(messages):
                        commands.append(self._packet(channel, messages[begin : index + 1]))
                        begin, size = index + 1, 0
            if commands:
                await self._wire.write(commands)

    def _packet(self, channel: str, messages: List[Tuple[bytes, Optional[Delivered]]]) -> Command:
        self._seq[channel] = seq = self._seq.get(channel, 0) + 1
        packet = self._seal.pack(channel, self.id, seq, (written for written, _ in messages))
        flying = self._flying.setdefault(channel, deque())
        flying.append([delivered for _, delivered in messages if delivered is not None])

        def published(count: Any) -> None:
            if isinstance(count, ResponseError):
                return self.end(f"Redis refuses to publish: {count}")
            for delivered in flying.popleft() if flying else ():
                delivered(count)
            if count == 0 and channel != self._all:
                # Whoever does not hear this packet hears none of those that are on their way behind it.
                while flying:
                    for delivered in flying.popleft():
                        delivered(0)
                self._gone(channel[len(self._to) :])

        return ("PUBLISH", channel, packet), published

    async def _beat(self) -> None:
        """Says that this session lives, and looks whether it is heard."""
        while self.over is None:
            self.say(None, {"type": "beat", "rev": self._rev, "load": self._owner.load()}, NOTHING)
            for _ in range(4):
                await asyncio.sleep(self._timeout / 12)
                if self._wire.overdue():
                    return self.end("a command had no answer in time")
                if time.monotonic() - self._echo > self._timeout:
                    return self.end("nothing was heard for too long")

    # What is heard.

    def _heard(self, channel: str, packet: bytes) -> None:
        if self.over is not None:
            return
        try:
            header, messages = self._seal.open(channel, packet)
            self._guard.check(header)
            if channel != self._all and begins_with_over(messages):
                # Worth nothing a second time: then this session is over already.
                return self.end("another member had not heard of this one for too long")
            if self._guard.is_over(header.session):
                # It does not seem to know.
                self._tell_over(header.session)
            lost = self._guard.admit(channel, header)
            if lost and channel != self._all:
                return self.end(f"{lost} packets of another member were lost")
            self._listen(channel, header, split(messages))
        except Refused as refused:
            self._owner.refused(refused.kind)

    def _listen(self, channel: str, header: Header, messages: List[Tuple[Message, bytes]]) -> None:
        session = header.session
        if channel != self._all and session not in self.members and messages[0][0]["type"] != "offer":
            raise Refused("stranger")
        if session == self.id and channel == self._all:
            self._echoed()
        malformed = False
        for message, data in messages:
            member = self.members.get(session)
            if member is not None:
                member.heard = time.monotonic()
            try:
                self._hear(session, member, message, data)
            except (ValueError, KeyError, TypeError, AttributeError):
                # The member is one of the fabric, but there is something wrong with it.
                malformed = True
        if malformed:
            raise Refused("malformed")

    def _hear(self, session: str, member: Optional[Member], message: Message, data: bytes) -> None:
        kind = message["type"]
        if session == self.id and kind in ("hello", "offer", "beat", "who", "bye"):
            return
        if kind == "hello":
            if "was" in message:
                self._gone(str(message["was"]))
            member = member or self._member(session, str(message["name"]))
            self._introduce(member)
        elif kind == "offer":
            member = member or self._member(session, str(message["name"]))
            if member.rev is None or int(message["rev"]) >= member.rev:
                member.offer(message)
                self._owner.members_changed()
            if session not in self._offered:
                self._introduce(member)
        elif kind == "beat":
            if member is None:
                # It was there before, and its offer was not heard.
                member = self._member(session, "")
            if member.rev != message["rev"]:
                self.say(member, {"type": "who"}, NOTHING)
            member.loaded(message["load"])
        elif kind == "who":
            if member is not None:
                self._introduce(member)
        elif kind == "bye":
            self._gone(session)
        elif member is not None and not member.line.hear(message, data):
            self._owner.hear(member, message, data)

    def _introduce(self, member: Member) -> None:
        """Tells a member what there is here."""
        self._offered.add(member.session)
        self.say(member, self._offer(), NOTHING)

    def _member(self, session: str, name: str) -> Member:
        def say(message: Message, payload: Payload, delivered: Optional[Delivered]) -> None:
            self.say(member, message, payload, delivered)

        member = Member(session, Line(say, self._late), name, time.monotonic(), self._timeout)
        self.members[session] = member
        return member

    def _late(self) -> None:
        self._owner.refused("late")

    def _echoed(self) -> None:
        """The own voice comes back: so all that was said before it has come, and who was silent is gone."""
        self._echo = now = time.monotonic()
        for member in list(self.members.values()):
            silent = now - member.heard
            if member.session == self.id or silent <= member.timeout / 2:
                continue
            if silent > member.timeout:
                self._dismiss(member)
            else:
                # It has left out a beat. If it is gone, this reaches nobody, and who waits for it learns that sooner.
                self.say(member, {"type": "who"}, NOTHING)

    def _dismiss(self, member: Member) -> None:
        """It was silent for too long. It may live, and not know that it is over."""
        self._gone(member.session)
        self._tell_over(member.session)

    def _tell_over(self, session: str) -> None:
        told = self._packet(self._to + session, [(frame({"type": "over"}, NOTHING), None)])
        self._commands.append(told)
        self._wake.set()

    def _gone(self, session: str) -> None:
        """That session is over."""
        if session == self.id:
            return self.end("this session is not heard any more")
        self._guard.end(session)
        member = self.members.pop(session, None)
        if member is not None:
            self._offered.discard(session)
            channel = self._to + session
            self._seq.pop(channel, None)
            self._flying.pop(channel, None)
            for _, delivered in self._queued.pop(channel, ()):
                if delivered is not None:
                    delivered(0)
            member.line.end(CallError(f"{member.name} was lost before it answered", "unavailable"))
            self._owner.members_changed()
