"""A leader that cheats: once it has, and its process ended, nobody starts its server again."""

from __future__ import annotations

from sim_apps import App, Keep
from sim_roles import Server
from simulation import Simulation

from protocol.blocks.cid import CID
from protocol.roles.leader.leader import Leader
from protocol.roles.server.server import Server as TwoRoles


class Cheat:
    """Of a scenario that is not honest. It cheats if all others know of the run by then: who comes after a leader that
    is contradicted hears of no run, and too few may be left to agree.

    If the server stands by when its app would cheat, it is lost before it says so. The word of one server stops every
    honest leader, until the admins remove it.
    """

    def __init__(self, run: Simulation) -> None:
        assert isinstance(run.server.role, Server)
        self._server, self._others = run.server, (*run.standbys, *run.clients)
        self._program, self._start = run.server.role.program, run.server.start
        self.cheats: bool | None = None
        """None: it was not to cheat yet."""
        run.server.role.program = self._watched
        run.server.start = self._start_again  # type: ignore[method-assign]  # of this peer alone

    def _watched(self, keep: Keep) -> App:
        return self._program(lambda *parts: self._cheat(keep, *parts[:-1]) if parts[-1] == "cheated" else keep(*parts))

    def _cheat(self, keep: Keep, *honest: object) -> CID:
        if self.cheats is None:
            self.cheats = all(peer.disk.heads for peer in self._others)
        if not self.cheats:
            return keep(*honest)
        machine = self._server._machine
        if not (isinstance(machine, TwoRoles) and isinstance(machine.role, Leader)):
            self._server.lose()
        return keep(*honest, "cheated")

    def _start_again(self) -> None:
        if self.cheats:
            self._server.lose()
        else:
            self._start()
