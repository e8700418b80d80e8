"""An admin who has another server lead the run, while that is on."""

from __future__ import annotations

from sim_disk import Disk
from sim_federation import key_of
from sim_peer import LOOKING, Peer
from sim_roles import Identity

from protocol.app.calls import ToApp
from protocol.blocks.cid import CID
from protocol.records.bodies import Role
from protocol.roles.appointing.appointment import Appointment
from protocol.wire.announcements import topic_all, topic_leader


class AdminsCommand:
    """`peer lead RUN --to NAME`, in a home of its own."""

    leads = False

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.topics = topic_all(identity.federation), topic_leader(identity.federation)
        self.asks_for: tuple[CID, bytes] | None = None
        """The run, and the server that is to lead it."""

    def machine(self, disk: Disk) -> Appointment:
        """As `sim_peer.Role` says."""
        assert self.asks_for is not None
        run, to = self.asks_for
        author, trusted = self.identity.author(disk), self.identity.trusted(disk)
        return Appointment(author, trusted, run, to, Role.AUDITOR, key_of("admin"))

    def start_app(self, peer: Peer, app: CID) -> None:
        """As `sim_peer.Role` says."""
        raise AssertionError("an admin's command starts an app")

    def to_app(self, peer: Peer, value: ToApp) -> None:
        """As `sim_peer.Role` says."""
        raise AssertionError("an admin's command has no app")


class AskedFor:
    """Has an admin ask for ``to`` once, ``later`` seconds after that knows of the run. A command that crashes is given
    again; one that ends, whatever came of it, is not."""

    def __init__(self, desk: Peer, to: Peer, later: float) -> None:
        assert isinstance(desk.role, AdminsCommand)
        self._desk, self._command, self._to, self._later = desk, desk.role, to, later
        desk._stopped = self._ended  # type: ignore[method-assign]  # of this peer alone
        self._look()

    def _look(self) -> None:
        run = next(iter(self._to.disk.heads), None)
        if run is None:
            self._desk._timeline.after(LOOKING, self._look)
        else:
            self._command.asks_for = run, key_of(self._to.name).verify_key.raw
            self._desk._timeline.after(self._later, self._desk.start)

    def _ended(self, why: str) -> None:
        self._desk.finished = True
        self._desk._end(why or "is done")
