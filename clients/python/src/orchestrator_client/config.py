"""The configuration of a service: values that are kept, and heard of when they change."""

from __future__ import annotations

import inspect
from typing import Any, Awaitable, Callable, Dict, List, Optional, Protocol

from .errors import CallError
from .serving import Function
from .values import Payload, encode

MOST_VALUES = 1024
LONGEST_NAME = 256
LONGEST_VALUE = 1 << 20

Off = Callable[[], Awaitable[None]]


class Keeper(Protocol):
    """What keeps the values: the fabric's Redis, or the orchestrator."""

    async def get_config(self, service: str, name: str) -> Any: ...

    async def set_config(self, service: str, name: str, value: Optional[Payload]) -> None: ...

    async def watch_config(self, service: str, watcher: Function) -> Off: ...


class Config:
    """The configuration of one service."""

    def __init__(self, keeper: Keeper, service: str) -> None:
        self._keeper = keeper
        self.service = service

    async def get(self, name: str) -> Any:
        """The value of this name; None where there is none."""
        return await self._keeper.get_config(self.service, _checked(name))

    async def set(self, name: str, value: object) -> None:
        """Sets a value, for everybody and for ever."""
        payload = encode(value)
        if payload.json is not None:
            raise TypeError("a value of the configuration is JSON, which has no bytes: write them as a text")
        if len(payload.data) > LONGEST_VALUE:
            why = f"a value of the configuration has at most {LONGEST_VALUE} bytes, this one has {len(payload.data)}"
            raise CallError(why, "too-large")
        await self._keeper.set_config(self.service, _checked(name), payload)

    async def remove(self, name: str) -> None:
        """Removes a value."""
        await self._keeper.set_config(self.service, _checked(name), None)

    async def watch(self, watcher: Function, name: Optional[str] = None) -> Off:
        """Calls `watcher(name, value)` for every change (of this name); a value of None was removed."""
        if name is None:
            return await self._keeper.watch_config(self.service, watcher)
        _checked(name)

        def one(changed: str, value: Any) -> Any:
            return watcher(changed, value) if changed == name else None

        async def one_async(changed: str, value: Any) -> Any:
            return await watcher(changed, value) if changed == name else None

        chosen = one_async if inspect.iscoroutinefunction(watcher) else one
        return await self._keeper.watch_config(self.service, chosen)


class Watchers:
    """The watchers of each service's configuration."""

    def __init__(self) -> None:
        self._of: Dict[str, List[Function]] = {}

    def services(self) -> List[str]:
        return list(self._of)

    def of(self, service: str) -> List[Function]:
        return list(self._of.get(service, ()))

    def add(self, service: str, watcher: Function) -> bool:
        """Whether it is the first one of that service."""
        watchers = self._of.setdefault(service, [])
        watchers.append(watcher)
        return len(watchers) == 1

    def remove(self, service: str, watcher: Function) -> None:
        watchers = self._of.get(service, [])
        if watcher in watchers:
            watchers.remove(watcher)
            if not watchers:
                del self._of[service]


def _checked(name: str) -> str:
    length = len(name.encode("utf-8", "replace")) if isinstance(name, str) else 0
    if 1 <= length <= LONGEST_NAME:
        return name
    raise ValueError(f"the name of a value is a text of 1 to {LONGEST_NAME} bytes, not {name!r}")
