"""The module `orchestrator`, as services import it: docs/services.md."""

import asyncio
import json
import os
import re
import sys

from orchestrator_talk import Children, Config, ServiceError, Services, current

__all__ = [
    "ServiceError",
    "children",
    "close",
    "config",
    "current",
    "emit",
    "log",
    "off",
    "on",
    "replica",
    "service",
    "services",
    "wait",
]

service = os.environ.get("ORCHESTRATOR_SERVICE", "")
replica = int(os.environ.get("ORCHESTRATOR_REPLICA") or 1)

_BARE = re.compile(r"[A-Za-z0-9_.:/@+-]+", re.ASCII)


def close():
    """Asks the orchestrator to close this service."""
    _ask_to_close()


def _ask_to_close():
    """The host that runs this service puts its own function here."""


services = config = children = None


async def emit(event, data=None):
    """Tells an event to every service that listens to it and may hear it; returns how many replicas those are."""
    return await _talk.emit(event, data)


async def on(event, handler, *, group=None):
    """Calls `handler(data, about)` for each event of this name, or below it ("stock.*"); of a group one replica hears it."""
    await _talk.on(event, handler, group=group)


async def off(event, handler, *, group=None):
    """The opposite, with the same arguments."""
    await _talk.off(event, handler, group=group)


def wait(awaitable, timeout=None):
    """Waits for something of this module in a thread that has no event loop."""

    async def waited():
        return await awaitable

    return asyncio.run_coroutine_threadsafe(waited(), _talk.loop).result(timeout)


def _attach(talk, ask_to_close):
    """Called by the host that runs this service."""
    global services, config, children, _talk, _ask_to_close
    services, config, children = Services(talk), Config(talk), Children(talk)
    _talk, _ask_to_close = talk, ask_to_close


def _field(value):
    """Bare where nobody could misread it, else as JSON."""
    if isinstance(value, BaseException):
        value = f"{type(value).__name__}: {value}"
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


class _Log:
    """Lines with a level and fields: `INFO text key=value`."""

    def debug(self, text, fields=None, **more):
        self._write(sys.stdout, "DEBUG", text, fields, more)

    def info(self, text, fields=None, **more):
        self._write(sys.stdout, "INFO", text, fields, more)

    def warn(self, text, fields=None, **more):
        self._write(sys.stderr, "WARN", text, fields, more)

    def error(self, text, fields=None, **more):
        self._write(sys.stderr, "ERROR", text, fields, more)

    @staticmethod
    def _write(stream, level, text, fields, more):
        named = {**(fields or {}), **more}
        parts = [f"{key}={_field(value)}" for key, value in named.items()]
        stream.write(" ".join([level, str(text).replace("\n", "\\n"), *parts]) + "\n")


log = _Log()
