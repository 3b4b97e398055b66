"""Calls the services of an orchestrator, hears its events, and offers it services of your own.

`connect` makes a program a member of a fabric, or attaches it to one orchestrator. This is the face for asyncio; the
one without is `orchestrator_client.plain`.
"""

from __future__ import annotations

from .attach import Attached
from .client import Client, Method, Registered, Result, Services
from .config import Config
from .connecting import Connecting, connect
from .errors import CODES, CallError
from .lines import Items
from .members import MemberInfo
from .serving import Invocation, current

__all__ = [
    "CODES",
    "Attached",
    "CallError",
    "Client",
    "Config",
    "Connecting",
    "Invocation",
    "Items",
    "MemberInfo",
    "Method",
    "Registered",
    "Result",
    "Services",
    "connect",
    "current",
]
