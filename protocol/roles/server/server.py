"""The server role: it leads a run, or stands by in one that another server leads, and changes from one to the other.

Two machines, one at a time, upon the same parts: announcer and its counters, inbox, newest manifest, equivocations. The
app process stays when a standby leads: it has replayed the run so far. A leader that was taken over from stands by with
another process, which replays the run from its beginning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from protocol.blocks.cid import CID
from protocol.chain.chain import Chain
from protocol.roles.catch_up import CatchUp
from protocol.roles.effects import Effect, Stop
from protocol.roles.events import AppsApproved, Event, Started, ToClose
from protocol.roles.following.followed_run import NOTHING, Verified
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan
from protocol.roles.newest_manifest import Author, NewestManifest, TrustedManifest
from protocol.roles.standby.standby import Standby
from protocol.roles.standby.standby_plan import RunToReplay, SignedAcks, StandbyPlan
from protocol.status.role_status import RoleStatus
from protocol.wire.inbox import Inbox

LISTENS_FIRST: Final = 2.5
"""Seconds for which a server listens whether another one leads before it leads itself. It says hello, and a leader
answers within a quarter of a second."""

LOOKS_INTO: Final = 10.0
"""Seconds for which it looks into the run of one that it has heard."""


@dataclass(frozen=True, slots=True)
class LeadPlan:
    """A run to lead."""

    plan: RunPlan
    resumed: ResumedRun | None = None
    """If it was left open; None begins a new one."""
    unless_led: bool = False
    """Whether to listen first: if another server leads this run, or one of this app if it is a new one, we stand by."""


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What the owner has chosen, for either role."""

    settings: LeaderSettings
    standby: StandbyPlan
    """``once``: it stops when the run is closed, whichever role it is in then."""
    lead: LeadPlan | None = None
    """What it begins with; None: it stands by."""


class Server:
    """A server peer. `protocol.roles.server.running_role.RunningRole`."""

    def __init__(
        self,
        author: Author,
        trusted: TrustedManifest,
        plan: ServerPlan,
        kept: Mapping[CID, SignedAcks],
        verified: Verified = NOTHING,
    ) -> None:
        """``kept`` is what earlier processes of this peer have signed as a standby, by run; ``verified`` what they
        verified."""
        self._author = author
        self._trusted = trusted
        self._plan = plan
        self._kept = defaultdict(SignedAcks, kept)
        self._verified = verified
        self._listens_until: float | None = None
        """When it leads what it is to lead, if nobody else does; None: that is decided."""
        self._to_close: ToClose | None = None
        """What its owner said meanwhile."""
        lead = plan.lead
        self.role: Leader | Standby
        if lead is None or lead.unless_led:
            self.role = Standby(author, trusted, plan.standby, kept, verified)
        else:
            self.role = Leader(author, trusted, lead.plan, plan.settings, lead.resumed, kept=self._kept)

    # -- as whoever feeds it sees it --------------------------------------------------------------------------------

    @property
    def state(self) -> LeaderState | FollowerState:
        """As `RunningRole`."""
        return self.role.machine.state

    def best_standby(self) -> bytes | None:
        """Who could go on with the run that it leads; None if nobody could, or it leads none."""
        return self.role.best_standby() if isinstance(self.role, Leader) else None

    @property
    def newest(self) -> NewestManifest:
        """As `RunningRole`."""
        return self.role.machine.newest

    @property
    def inbox(self) -> Inbox:
        """As `RunningRole`."""
        return self.role.machine.inbox

    @property
    def known_addresses(self) -> tuple[str, ...]:
        """As `RunningRole`."""
        return self.role.machine.known_addresses

    def status(self, now: float) -> RoleStatus:
        """As `RunningRole`."""
        return self.role.machine.status(now)

    @property
    def chain(self) -> Chain | None:
        """Of the run that it leads or stands by in."""
        return self.role.chain

    @property
    def contradicted(self) -> bool:
        """Whether it has computed something else than a leader recorded."""
        return isinstance(self.role, Standby) and self.role.contradicted

    def handle(self, event: Event, now: float) -> list[Effect]:
        """As `RunningRole`."""
        match event:
            case AppsApproved(apps) if self._plan.standby.approved is not None:
                self._plan = replace(self._plan, standby=replace(self._plan.standby, approved=apps))
            case ToClose() if self._listens_until is not None:
                self._to_close = event
                return []
            case _:
                pass
        match self.role:
            case Standby() as standby:
                if isinstance(event, Started) and self._plan.lead is not None:
                    self._listens_until = standby.looks_again = now + LISTENS_FIRST
                effects = standby.handle(event, now)
                return effects + self._may_lead(standby, now)
            case Leader() as leader:
                return self._may_stand_by(leader, leader.handle(event, now), now)

    # -- from one role to the other ---------------------------------------------------------------------------------

    def _may_lead(self, standby: Standby, now: float) -> list[Effect]:
        if standby.machine.state is FollowerState.STOPPED:
            return []
        if self._listens_until is not None and self._plan.lead is not None:
            return self._listened(standby, self._plan.lead, self._listens_until, now)
        succession = standby.succession()
        standby.won = None  # one that cannot be used now can never be
        if succession is None:
            return []
        leader = self._becomes_leader(standby, LeadPlan(succession.plan, succession.run))
        return leader.succeed(standby.machine, succession, now)

    def _listened(self, standby: Standby, lead: LeadPlan, until: float, now: float) -> list[Effect]:
        """Lead what we are to lead once we have listened, unless another leads it."""
        run = standby.run
        instead = run is not None and _is_led_instead(run, standby, lead)
        looks_into = run is not None and not run.is_idle and now < until + LOOKS_INTO
        if not instead and (now < until or looks_into):
            standby.looks_again = until if now < until else until + LOOKS_INTO
            return []
        self._listens_until = standby.looks_again = None
        if instead:
            return []
        leader = self._becomes_leader(standby, lead)
        effects = leader.begin_after(standby.machine, now)
        return effects if self._to_close is None else effects + leader.handle(self._to_close, now)

    def _becomes_leader(self, standby: Standby, lead: LeadPlan) -> Leader:
        self._kept = standby.kept
        parts, settings = standby.machine.parts, self._plan.settings
        self.role = leader = Leader(self._author, self._trusted, lead.plan, settings, lead.resumed, parts, self._kept)
        return leader

    def _may_stand_by(self, leader: Leader, effects: list[Effect], now: float) -> list[Effect]:
        if leader.machine.state is not LeaderState.STOPPED:
            return effects
        if (newest := leader.other_leaders.newest) is not None:  # it has yielded
            run = RunToReplay(newest, leader.other_leaders.leader, leader.other_leaders.announced)
            return effects + self._becomes_standby(leader, run, now)
        if self._plan.standby.once or Stop("") not in effects:
            return effects
        effects.remove(Stop(""))  # its run is closed, and there may be others
        return effects + self._becomes_standby(leader, None, now)

    def _becomes_standby(self, leader: Leader, run: RunToReplay | None, now: float) -> list[Effect]:
        verified = self._verified
        if run is not None:
            others = {each: at for each, at in verified.heads.items() if each != run.position.run}
            verified = replace(verified, heads={run.position.run: run.position, **others})
        plan = replace(self._plan.standby, run=run)
        self.role = standby = Standby(self._author, self._trusted, plan, self._kept, verified, leader.machine.parts)
        return standby.succeed(leader.machine, now)


def _is_led_instead(run: CatchUp, standby: Standby, lead: LeadPlan) -> bool:
    """Whether another server leads what we would lead."""
    chain = None if lead.resumed is None else lead.resumed.chain
    if chain is None:
        return run.caught_up and not run.chain.closed and standby.takes_part
    return run.run == chain.run and run.caught_up and run.chain.term > chain.term
