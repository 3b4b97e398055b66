"""Members: who is there, what each offers and hears, and which of them a call or an event goes to."""

from __future__ import annotations

import hashlib
from typing import Any, Collection, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Tuple

from .lines import Line
from .values import Message, covers

Group = Tuple[str, str]


class Offered(NamedTuple):
    """A service of a member."""

    replicas: int
    methods: FrozenSet[str]


class Hears(NamedTuple):
    """What somebody listens to."""

    service: str
    event: str
    group: Optional[str]


class MemberInfo(NamedTuple):
    """A member of the fabric, as `members()` lists it."""

    name: str
    kind: str
    host: str
    session: str
    services: Dict[str, List[str]]


class Member:
    """Another one of the fabric, with its session."""

    def __init__(self, session: str, line: Line, name: str, now: float, timeout: float) -> None:
        self.session = session
        self.line = line
        self.name = name
        self.kind = "program"
        self.host = ""
        self.rev: Optional[int] = None
        self.timeout = timeout
        self.heard = now
        self.services: Dict[str, Offered] = {}
        self.hears: List[Hears] = []
        self.chosen = 0
        self._others: Dict[str, int] = {}

    def offer(self, message: Message) -> None:
        """Takes over what it says of itself; nothing of it, where it makes no sense."""
        services, load = {}, {}
        for one in message.get("services", []):
            name = str(one["name"])
            services[name] = Offered(max(1, int(one.get("replicas", 1))), frozenset(map(str, one["methods"])))
            load[name] = int(one.get("load", 0))
        hears = []
        for one in message.get("hears", []):
            group = one.get("group")
            hears.append(Hears(str(one["service"]), str(one["event"]), None if group is None else str(group)))
        rev, timeout = int(message["rev"]), int(message["timeout"]) / 1000
        self.name, self.kind, self.host = str(message["name"]), str(message.get("kind", "")), str(message.get("host", ""))
        self.rev, self.timeout, self.services, self.hears = rev, timeout, services, hears
        self.loaded(load)

    def loaded(self, load: Dict[str, Any]) -> None:
        """It has so many calls under way; what of them is not ours stays until it tells again."""
        own = self.line.own
        self._others = {name: max(0, int(count) - own.get(name, 0)) for name, count in load.items()}

    def score(self, service: str) -> float:
        """The higher, the sooner a call goes here."""
        calls = self._others.get(service, 0) + self.line.own.get(service, 0)
        return -calls / self.services[service].replicas

    def weight(self, key: str) -> Tuple[int, int]:
        """The member with the highest one has the calls with this key; those of one name and host have different sessions."""

        def number(text: str) -> int:
            return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:6], "big")

        return number(f"{key}\n{self.name}@{self.host}"), number(f"{key}\n{self.session}")

    def info(self) -> MemberInfo:
        services = {name: sorted(offered.methods) for name, offered in self.services.items()}
        return MemberInfo(self.name, self.kind, self.host, self.session, services)


class Turns:
    """Chooses among members, each in its turn."""

    def __init__(self) -> None:
        self._turn = 0
        self._groups: Dict[Group, int] = {}

    def member(self, able: Collection[Member], service: str, key: Optional[str]) -> Member:
        """Who of those that offer a service gets a call; `able` is not empty."""
        if key is not None:
            return max(able, key=lambda one: one.weight(key))
        best = max(able, key=lambda one: (one.score(service), -one.chosen))
        self._turn += 1
        best.chosen = self._turn
        return best

    def listeners(
        self, members: Iterable[Member], event: str, only: Optional[Collection[Group]] = None
    ) -> Dict[str, Tuple[bool, List[Group]]]:
        """Which sessions are told an event: whether for all, and for which groups (perhaps only of these)."""
        told: Dict[str, Tuple[bool, List[Group]]] = {}
        groups: Dict[Group, List[str]] = {}
        for member in members:
            for hears in member.hears:
                if not covers(hears.event, event):
                    continue
                if hears.group is None:
                    if only is None:
                        told[member.session] = (True, [])
                elif only is None or (hears.service, hears.group) in only:
                    sessions = groups.setdefault((hears.service, hears.group), [])
                    if member.session not in sessions:
                        sessions.append(member.session)
        for group, sessions in groups.items():
            self._groups[group] = turn = self._groups.get(group, -1) + 1
            chosen = sessions[turn % len(sessions)]
            told.setdefault(chosen, (False, []))[1].append(group)
        return told
