"""Why a call has no result: `CallError` and its codes."""

from __future__ import annotations

from typing import Any, Dict, Mapping

CODES = ("timeout", "unavailable", "denied", "not-found", "overloaded", "too-large", "service-error", "cancelled")


class CallError(Exception):
    """Why a call has no result: `code`, `service`, `method`, and what was thrown there, `remote_name`, `remote_stack`.

    A method that raises one itself answers with its code.
    """

    def __init__(
        self,
        message: str = "",
        code: str = "service-error",
        service: str = "",
        method: str = "",
        remote_name: str = "",
        remote_stack: str = "",
    ) -> None:
        where = ".".join(part for part in (service, method) if part)
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.code = code
        self.service = service
        self.method = method
        self.remote_name = remote_name
        self.remote_stack = remote_stack

    @classmethod
    def heard(cls, told: object) -> CallError:
        """The one that another member tells of."""
        known: Mapping[str, Any] = told if isinstance(told, dict) else {}
        text = {name: str(known.get(name) or "") for name in ("message", "service", "method", "name", "stack")}
        code = str(known.get("code") or "service-error")
        return cls(text["message"], code, text["service"], text["method"], text["name"], text["stack"])

    def told(self) -> Dict[str, str]:
        """As another member is told of it."""
        return {
            "code": self.code,
            "message": self.message,
            "service": self.service,
            "method": self.method,
            "name": self.remote_name,
            "stack": self.remote_stack,
        }

    def about(self, service: str, method: str) -> CallError:
        """The same, of this call."""
        return CallError(self.message, self.code, service, method, self.remote_name, self.remote_stack)
