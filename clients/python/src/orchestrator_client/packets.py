"""Packets: how messages are sealed with the fabric's key, and which packets are refused."""

from __future__ import annotations

import hmac
import json
import re
import time
from typing import Dict, Iterable, List, NamedTuple, Tuple

from .values import Message, parse_line

TAG = 32
LONGEST_PACKET = 64 * 1024
STALE = 60.0
REMEMBERED = 120.0

_SESSION = re.compile(r"[0-9a-f]{32}")


class Refused(Exception):
    """A packet that is not to be listened to; `kind` is what it is counted as."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Header(NamedTuple):
    """What stands before a packet's messages."""

    session: str
    seq: int
    time: float


class Seal:
    """Makes the packets of one fabric, and opens them."""

    def __init__(self, key: bytes, prefix: str, database: int) -> None:
        self._key = hmac.digest(key, f"orchestrator-fabric-1\n{prefix}\n{database}".encode(), "sha256")

    def pack(self, channel: str, session: str, seq: int, messages: Iterable[bytes]) -> bytes:
        """A packet with these messages."""
        header = f'{{"v":1,"from":"{session}","seq":{seq},"time":{int(time.time() * 1000)}}}\n'
        body = b"".join([header.encode(), *messages])
        return self._tag(channel, body) + body

    def open(self, channel: str, packet: bytes) -> Tuple[Header, bytes]:
        """A packet's header, and its messages."""
        tag, body = packet[:TAG], packet[TAG:]
        if not body:
            raise Refused("malformed")
        if not hmac.compare_digest(tag, self._tag(channel, body)):
            raise Refused("forged")
        line, _, messages = body.partition(b"\n")
        try:
            header = json.loads(line)
            if header["v"] != 1 or type(header["seq"]) is not int or header["seq"] < 1:
                raise ValueError
            if not _SESSION.fullmatch(header["from"]):
                raise ValueError
            return Header(header["from"], header["seq"], header["time"] / 1000), messages
        except (ValueError, KeyError, TypeError):
            raise Refused("malformed") from None

    def tag_value(self, service: str, name: str, text: bytes) -> bytes:
        """The tag of a value of the configuration."""
        return hmac.digest(self._key, f"config\n{service}\n{name}\n".encode() + text, "sha256")

    def _tag(self, channel: str, body: bytes) -> bytes:
        return hmac.digest(self._key, channel.encode() + b"\n" + body, "sha256")


def split(messages: bytes) -> List[Tuple[Message, bytes]]:
    """The messages of a packet, with their payloads."""
    found: List[Tuple[Message, bytes]] = []
    at, end = 0, len(messages)
    try:
        while at < end:
            line_end = messages.index(b"\n", at)
            message, size = parse_line(messages[at:line_end])
            at = line_end + 1 + size
            if at > end:
                raise ValueError
            found.append((message, messages[line_end + 1 : at]))
    except ValueError:
        raise Refused("malformed") from None
    if not found:
        raise Refused("malformed")
    return found


def begins_with_over(messages: bytes) -> bool:
    """Whether they say that the receiver's session is over for the sender."""
    try:
        return b"over" in messages[:64] and split(messages)[0][0]["type"] == "over"
    except Refused:
        return False


class Seen(NamedTuple):
    """The last packet of a session on each channel, and when it was heard."""

    last: Dict[str, int]
    heard: float


class Guard:
    """Remembers what has come, so that nothing is heard twice, late, or from a session that is over.

    It outlives a program's own sessions: what was heard in one is not heard again in the next.
    """

    def __init__(self) -> None:
        self._seen: Dict[str, Seen] = {}
        self._over: Dict[str, float] = {}
        self._tidied = time.monotonic()

    def is_over(self, session: str) -> bool:
        return session in self._over

    @staticmethod
    def check(header: Header) -> None:
        """Refuses what was sent too long ago, or by a clock that is too far away."""
        if not abs(header.time - time.time()) <= STALE:
            raise Refused("stale")

    def admit(self, channel: str, header: Header) -> int:
        """How many packets of that session on that channel were lost before this one."""
        self.check(header)
        seen = self._seen.get(header.session) or Seen({}, 0.0)
        last = seen.last.get(channel, 0)
        if header.session in self._over:
            raise Refused("replayed")
        if header.seq <= last:
            raise Refused("replayed")
        now = time.monotonic()
        seen.last[channel] = header.seq
        self._seen[header.session] = Seen(seen.last, now)
        if now - self._tidied > STALE:
            self._tidy(now)
        return header.seq - last - 1

    def end(self, session: str) -> None:
        """That session is over."""
        self._over[session] = time.monotonic()

    def leave(self, channel: str) -> None:
        """Nothing is heard on that channel any more."""
        for seen in self._seen.values():
            seen.last.pop(channel, None)

    def _tidy(self, now: float) -> None:
        # Whoever lives was heard of in this time, and what is older is stale anyway.
        self._tidied = now
        self._over = {one: when for one, when in self._over.items() if now - when < REMEMBERED}
        self._seen = {one: seen for one, seen in self._seen.items() if now - seen.heard < REMEMBERED}
