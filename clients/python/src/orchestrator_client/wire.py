"""The way to Redis: one connection that says what is to be done, and one that hears what is published."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Callable, Deque, List, Sequence, Tuple
from urllib.parse import urlsplit

from .waiting import within

try:
    from redis.asyncio import ConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.exceptions import ResponseError as ResponseError
except ImportError as missing:
    raise ImportError("the fabric needs redis-py: pip install 'orchestrator-client[fabric]'") from missing

Answered = Callable[[Any], None]
Command = Tuple[Sequence[Any], Answered]


class Wire:
    """Two connections to one Redis. When something is wrong with one of them, both are done with."""

    def __init__(self, url: str, timeout: float) -> None:
        scheme = urlsplit(url).scheme if isinstance(url, str) else ""
        wrong = "redis is an address such as redis://:password@localhost:6379/0 or rediss://..., not {!r}"
        if scheme not in ("redis", "rediss"):
            # Nothing of it is shown where there may be a password in it.
            raise ValueError(wrong.format(url if isinstance(url, str) and "@" not in url else scheme))
        try:
            # Nothing of redis-py tries again or connects again by itself: a connection that is lost may have lost
            # packets, which only a new session can make up for.
            self._pool = ConnectionPool.from_url(
                url,
                retry=Retry(NoBackoff(), 0),
                retry_on_error=[],
                retry_on_timeout=False,
                health_check_interval=0,
                socket_connect_timeout=timeout,
                # How long a command may take is looked at from here: who only listens may hear nothing for long.
                socket_timeout=None,
                socket_keepalive=True,
                protocol=2,
                decode_responses=False,
            )
            told = self._pool.connection_kwargs
            self.database = int(told.get("db") or 0)
            self.address = f"{told.get('host', 'localhost')}:{told.get('port', 6379)}"
        except (ValueError, TypeError) as error:
            raise ValueError(f"{wrong.format(scheme + '://...')} ({error})") from None
        self._make: Callable[[], Any] = self._pool.make_connection
        self._timeout = timeout
        self._pending: Deque[Tuple[Answered, float]] = deque()

    def renew(self) -> None:
        """Two new connections, which are not open yet."""
        self._saying, self._hearing = self._make(), self._make()
        self._pending.clear()

    async def open(self, channels: Sequence[str]) -> None:
        """Connects both, and listens to these channels; what cannot be is a RedisError, OSError or TimeoutError."""
        await within(self._open(channels), self._timeout)

    async def _open(self, channels: Sequence[str]) -> None:
        await self._saying.connect()
        await self._hearing.connect()
        await self._hearing.send_command("SUBSCRIBE", *channels, check_health=False)
        for _ in channels:
            await self._hearing.read_response(disconnect_on_error=False)

    async def write(self, commands: Sequence[Command]) -> None:
        """Sends commands at once, without waiting for their answers."""
        if not self._saying.is_connected:
            # redis-py would connect again by itself.
            raise ConnectionError("the connection was closed")
        now = time.monotonic()
        self._pending.extend((answered, now) for _, answered in commands)
        packed: List[bytes] = self._saying.pack_commands([args for args, _ in commands])
        await self._saying.send_packed_command(packed, check_health=False)

    def overdue(self) -> bool:
        """Whether a command has had no answer for too long."""
        return bool(self._pending) and time.monotonic() - self._pending[0][1] > self._timeout

    async def answers(self) -> None:
        """Hands on the answers to commands, for ever. An answer that is an error is handed on as such."""
        while True:
            answer: Any
            try:
                answer = await self._saying.read_response(disconnect_on_error=False)
            except ResponseError as error:
                answer = error
            if not self._pending:
                raise ConnectionError("an answer came to no question")
            answered, _ = self._pending.popleft()
            answered(answer)

    async def packets(self, hear: Callable[[str, bytes], None]) -> None:
        """Hands on what is published, for ever."""
        count = 0
        while True:
            answer = await self._hearing.read_response(disconnect_on_error=False)
            if answer[0] == b"message":
                hear(answer[1].decode(), answer[2])
            count += 1
            if count % 16 == 0:
                # What is in the buffer already comes without a pause, and others want their turn.
                await asyncio.sleep(0)

    async def close(self) -> None:
        """Closes both."""
        for connection in (self._saying, self._hearing):
            try:
                await connection.disconnect()
            except (RedisError, OSError, asyncio.TimeoutError):
                # It is closed anyway.
                pass


FAILURES = (RedisError, OSError, asyncio.TimeoutError)
