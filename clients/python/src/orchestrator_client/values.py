"""Values as they travel: payloads of JSON with bytes behind it, lengths of time, and names."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

from .errors import CallError

Message = Dict[str, Any]
Duration = Union[int, float, str]

LONGEST_LINE = 1 << 20
LONGEST_PAYLOAD = 16 << 20
LONGEST_NAME = 256

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_NO_NAME = re.compile(r"[\s\x00-\x1f\x7f-\x9f\"'\\]")


class Payload(NamedTuple):
    """A value that is ready to be sent: all its bytes, and how many of them are JSON (None: all)."""

    data: bytes
    json: Optional[int]


NOTHING = Payload(b"", None)


def encode(value: object) -> Payload:
    """A value as a payload. What is neither JSON nor bytes is a TypeError."""
    parts, text = _dump(value)
    if parts and text.count('"$bytes"') != len(parts):
        # The value has members of that name itself, which must not be mistaken for bytes.
        parts, text = _dump(_marked(value))
    # A lone surrogate has no UTF-8; it becomes a question mark, as the orchestrator's own hosts do it.
    written = text.encode("utf-8", "replace")
    data = b"".join([written, *parts])
    if len(data) > LONGEST_PAYLOAD:
        raise CallError(f"a message has at most {LONGEST_PAYLOAD} bytes, this one has {len(data)}", "too-large")
    return Payload(data, len(written) if parts else None)


def _dump(value: object) -> Tuple[List[bytes], str]:
    parts: List[bytes] = []
    offset = 0

    def default(found: object) -> object:
        nonlocal offset
        if not isinstance(found, (bytes, bytearray, memoryview)):
            raise TypeError(f"{type(found).__name__} cannot be sent: it is no JSON and no bytes")
        part = bytes(found)
        parts.append(part)
        offset += len(part)
        return {"$bytes": [offset - len(part), len(part)]}

    text = json.dumps(value, default=default, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return parts, text


def _marked(value: object) -> object:
    if isinstance(value, dict):
        plain = {key: _marked(item) for key, item in value.items()}
        return {"$bytes": "plain", "value": plain} if "$bytes" in plain else plain
    if isinstance(value, (list, tuple)):
        return [_marked(item) for item in value]
    return value


def decode(data: bytes, length: Optional[int] = None) -> Any:
    """The value of a payload, of which so many bytes are JSON (None: all). What is none is a ValueError."""
    if not data:
        return None
    if length is None:
        return json.loads(data)
    if not isinstance(length, int) or not 0 <= length <= len(data):
        raise ValueError("the payload is shorter than its JSON")
    return _revived(json.loads(data[:length]), data[length:])


def _revived(value: Any, behind: bytes) -> Any:
    if isinstance(value, list):
        return [_revived(item, behind) for item in value]
    if not isinstance(value, dict):
        return value
    extent = value.get("$bytes")
    if extent == "plain":
        value = value.get("value")
        if not isinstance(value, dict):
            raise ValueError("an object with a member $bytes is not as it should be")
    elif extent is not None:
        if not (isinstance(extent, list) and len(extent) == 2 and all(type(one) is int for one in extent)):
            raise ValueError("an object with a member $bytes is not as it should be")
        offset, length = extent
        if not 0 <= offset <= offset + length <= len(behind):
            raise ValueError("the payload is shorter than the bytes in it")
        return behind[offset : offset + length]
    return {key: _revived(item, behind) for key, item in value.items()}


def frame(message: Message, payload: Optional[Payload] = None) -> bytes:
    """A message as it is sent: its line, and its payload behind."""
    if payload is not None and payload.data:
        message["payload"] = len(payload.data)
        if payload.json is not None:
            message["json"] = payload.json
        return json.dumps(message, separators=(",", ":")).encode() + b"\n" + payload.data
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def parse_line(line: bytes) -> Tuple[Message, int]:
    """A message's line, and how many bytes follow it. What is none is a ValueError."""
    message = json.loads(line)
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ValueError("a message is an object with a type")
    size = message.get("payload", 0)
    if type(size) is not int or not 0 <= size <= LONGEST_PAYLOAD:
        raise ValueError("a payload is longer than it may be")
    return message, size


def milliseconds(value: Duration, what: str) -> int:
    """From a number of seconds (as everywhere in Python) or a text such as "1m30s"."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e9:
        return max(1, round(value * 1000))
    parts = re.findall(r"(\d+)(ms|s|m|h)", value) if isinstance(value, str) else []
    if parts and "".join(number + unit for number, unit in parts) == value:
        length = sum(int(number) * _UNITS[unit] for number, unit in parts)
        if length:
            return length
    raise ValueError(f'{what} is a number of seconds above 0 or a text such as "1m30s", not {value!r}')


def check_service(name: str, what: str = "the name of a service") -> str:
    """A service's name: DNS labels, those of children behind a slash."""
    if isinstance(name, str) and all(_LABEL.fullmatch(part) for part in name.split("/")):
        return name
    raise ValueError(f"{what} has lower-case letters, digits and '-', a letter first, as in 'web-2', not {name!r}")


def check_pattern(text: str, *, star: bool) -> str:
    """The name of an event or method: parts with dots between; with `star` the last part may be `*`."""
    parts = text.split(".") if isinstance(text, str) else []
    stars = [index for index, part in enumerate(parts) if "*" in part]
    good = parts and all(parts) and not _NO_NAME.search(text) and len(text.encode("utf-8", "replace")) <= LONGEST_NAME
    if good and (not stars or (star and stars == [len(parts) - 1] and parts[-1] == "*")):
        return text
    example = "'stock.changed', 'stock.*' or '*'" if star else "'stock.changed'"
    raise ValueError(f"a name has parts with dots between, as {example}, and at most 256 bytes, not {text!r}")


def covers(pattern: str, name: str) -> bool:
    """Whether a pattern (`stock.*`, `*`) means this name."""
    if pattern.endswith("*"):
        return len(name) >= len(pattern) and name.startswith(pattern[:-1])
    return pattern == name


def takes(handler: Callable[..., object], most: int) -> int:
    """How many values a handler takes: `lambda data: ...` need not know who told it."""
    import inspect

    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return most
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return most
    return min(most, sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters))
