"""`connect`: from what is given to what it means."""

from __future__ import annotations

from typing import Any, Generator, NoReturn, Optional, Union

from .attach import Attached, socket_of
from .client import Client
from .serving import Runner
from .values import Duration

OPTIONS = ("redis", "key", "prefix", "name", "timeout", "call_timeout", "socket", "project")


class Connecting:
    """What `connect` returns: `await` it, or use it with `async with`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._connected().__await__()

    async def _connected(self) -> Client:
        await self._client.start()
        return self._client

    async def __aenter__(self) -> Client:
        return await self._connected()

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


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
    **unknown: NoReturn,
) -> Connecting:
    """Joins a fabric (`redis` and `key`), or attaches to an orchestrator (`socket`, or `project`).

    `timeout` is how long a member may be silent, `call_timeout` how long a call may take unless it says so itself.
    """
    refuse_unknown(unknown)
    return Connecting(make(redis, key, prefix, name, timeout, call_timeout, socket, project, None))


def refuse_unknown(unknown: object) -> None:
    for one in unknown if isinstance(unknown, dict) else ():
        raise TypeError(f"connect has no option {one!r}: there are {', '.join(OPTIONS)}")


def make(
    redis: Optional[str],
    key: Union[str, bytes, None],
    prefix: Optional[str],
    name: str,
    timeout: Duration,
    call_timeout: Duration,
    socket: Optional[str],
    project: Optional[str],
    runner: Optional[Runner],
) -> Client:
    """A client that is not connected yet."""
    if sum(one is not None for one in (redis, socket, project)) != 1:
        raise ValueError("connect needs one of redis=, to join a fabric, and socket= or project=, to attach")
    if redis is None:
        if key is not None or prefix is not None:
            raise ValueError("key and prefix belong to redis=: who attaches needs none")
        path = socket if socket is not None else socket_of(str(project))
        return Attached(path, name, timeout, call_timeout, runner)
    # Only who joins a fabric needs redis-py.
    from .fabric import Fabric

    return Fabric(redis, key, "orchestrator" if prefix is None else prefix, name, timeout, call_timeout, runner)
