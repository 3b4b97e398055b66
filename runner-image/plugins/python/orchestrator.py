"""The module `orchestrator`, as services import it: docs/services.md."""

import json
import os
import re
import sys

service = os.environ.get("ORCHESTRATOR_SERVICE", "")
replica = int(os.environ.get("ORCHESTRATOR_REPLICA") or 1)

_BARE = re.compile(r"[A-Za-z0-9_.:/@+-]+", re.ASCII)


def close():
    """Asks the orchestrator to close this service."""
    _ask_to_close()


def _ask_to_close():
    """The host that runs this service puts its own function here."""


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
