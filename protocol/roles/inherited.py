"""For the moment: what lets the two chains of classes stand on the parts, until each role holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, ClassVar

from protocol.app.calls import Examined
from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Member, Role
from protocol.roles.effects import Effect
from protocol.roles.events import Event
from protocol.roles.machine import Machine
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.table import Rule, Table, on
from protocol.wire.announcements import Announcement, Beat, Hello
from protocol.wire.inbox import Inbox


class Inherited:
    """A role by inheritance."""

    TABLE: ClassVar[Mapping[Enum, Mapping[type, str]]]
    ROLE: ClassVar[Role]
    handle: Callable[[Event, float], list[Effect]]

    def __init__(self, author: Author, trusted: TrustedManifest, topic: str) -> None:
        self.machine: Machine[Any] = Machine(author, trusted, self.ROLE, topic)
        self._outbox, self._newest = self.machine.outbox, self.machine.newest
        self._voice, self._proofs, self._copies = self.machine.voice, self.machine.proofs, self.machine.copies
        self._deafness = self.machine.deafness
        states = list(self.TABLE)
        rows: dict[Enum, list[Rule[Any]]] = {
            state: [*(on(kind, getattr(self, name)) for kind, name in by.items())] for state, by in self.TABLE.items()
        }
        for state in states[1:-1]:
            rows[state] += self.machine.common()
            if self.ROLE is Role.SERVER:
                rows[state].append(on(Examined, self._outbox.answered))
        self.machine.wire(
            Table(states[0], states[-1], rows, dict.fromkeys(states, self._settle)),
            moments=self._moments,
            said=self._said,
            present=self._present,
            distrusts=self._distrusts,
        )
        self.handle = self.machine.handle

    @property
    def state(self) -> Any:
        """Of the machine."""
        return self.machine.state

    @state.setter
    def state(self, state: Enum) -> None:
        self.machine.state = state

    @property
    def manifest(self) -> Manifest:
        """The newest."""
        return self._newest.manifest

    @property
    def author(self) -> Author:
        """The member that it acts for."""
        return self._newest.author

    @property
    def inbox(self) -> Inbox:
        """What is dropped is counted there."""
        return self.machine.inbox

    @property
    def known_addresses(self) -> tuple[str, ...]:
        """Where members have said that their engines are."""
        return self.machine.known_addresses

    def _settle(self, now: float) -> None:
        raise NotImplementedError

    def _moments(self) -> Iterable[float]:
        raise NotImplementedError

    def _said(self, announcement: Announcement, now: float) -> None:
        raise NotImplementedError

    def _present(self, kind: type[Hello] | type[Beat]) -> Hello | Beat:
        raise NotImplementedError

    def _distrusts(self, member: Member, proof: CID, now: float) -> None:
        raise NotImplementedError
