"""What runs a role, as whoever feeds it sees it: a machine, or a server that changes between two of them."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from protocol.roles.effects import Effect
from protocol.roles.events import Event
from protocol.roles.newest_manifest import NewestManifest
from protocol.status.role_status import RoleStatus
from protocol.wire.inbox import Inbox


class RunningRole(Protocol):
    """Takes events, and says what is to be done. `protocol.roles.machine.Machine` is one."""

    @property
    def state(self) -> Enum:
        """Where it is now: by the enum, which role it is in."""

    @property
    def newest(self) -> NewestManifest:
        """The newest manifest that it knows."""

    @property
    def inbox(self) -> Inbox:
        """What has come in."""

    @property
    def known_addresses(self) -> tuple[str, ...]:
        """Where members have said that their engines are."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """As `protocol.roles.machine.Machine.handle`."""

    def status(self, now: float, /) -> RoleStatus:
        """What people see of it at a moment, in seconds since 1970."""
