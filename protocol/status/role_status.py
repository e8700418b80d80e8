"""What people see of a running role. Times are in seconds since 1970."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from protocol.blocks.cid import CID
from protocol.records.roles import Role
from protocol.status.lateness import Lateness
from protocol.status.measures import Measures
from protocol.status.takeover_status import TakeoverStatus

if TYPE_CHECKING:
    from protocol.records.bodies import RunConfig

ROUNDS_KEY: Final = "num-server-rounds"
"""The setting with which Flower's own apps name their number of rounds."""

STANDBY: Final = "standby"
"""What people are told of a server that follows a run which another leads."""

MAX_ROUNDS: Final = 1 << 53
"""A larger number is no number of rounds: each app chooses its settings."""


class Doing(StrEnum):
    """What another member does, as far as this one has heard."""

    HERE = "here"
    WORKING = "working"
    """It owes the answer to a message."""
    REFUSING = "refusing"
    """It is here, and takes no part."""
    AWAY = "away"
    """It has been silent for too long."""
    LEFT = "left"
    """It said goodbye."""
    UNHEARD = "unheard"
    """It was not heard since this peer started."""
    DISTRUSTED = "distrusted"
    """It has signed two different records at one place."""

    @property
    def is_here(self) -> bool:
        """Whether the member is here and takes part."""
        return self in (Doing.HERE, Doing.WORKING)


class Lack(StrEnum):
    """What a role waits for."""

    APP = "app"
    """Its app process is not ready."""
    APP_FILES = "app-files"
    APPROVAL = "approval"
    """The owner has not approved the run's app."""
    PAST = "past"
    """Others have not said yet what they have of ours."""
    CLIENTS = "clients"
    """Too few are here for the app."""
    REPLIES = "replies"
    CLOSE_HEARD = "close-heard"
    """Not all clients have verified the last record."""
    KEPT = "kept"
    """A keeper here does not have all of the closed run yet."""
    SERVER = "server"
    """None is heard."""
    RUN = "run"
    """A server is heard, and leads none that is open."""
    RECORDS = "records"
    ROSTER = "roster"
    """The run's leader has not taken up the newest manifest."""
    CONTENT = "content"
    """A message is for us, and what it holds is not here."""
    WITNESSES = "witnesses"
    """Too few other servers have recomputed what clients are to train on."""
    VOTERS = "voters"
    """Too few of those who may elect another leader are heard: another may lead by now."""
    ROOM = "room"
    """The disk has no room for another exchange, by the home's budget."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that a role waits for."""

    lack: Lack
    whom: tuple[str, ...] = ()
    """The names of the members, if it is known whom it waits for."""
    until: float | None = None
    """When it goes on without that; None if never. Of replies of which not all are needed: when it does if those are
    in, and if they are not once that time is over, when it gives the others up."""
    here: int | None = None
    """How many clients are here, replies are in, or servers have vouched, if it waits for more of them."""
    needed: int | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers that a client has given since the peer started."""

    count: int
    seconds: float
    """How long the newest took: at a server, from the record that sent the message to the reply's being examined."""
    metrics: Measures
    """The newest number of each name. Names are the app's, and hostile until shown as `protocol.visible` shows them."""


NO_ANSWERS: Final = Answers(0, 0.0, ())


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """Another member, as this one has heard of it."""

    name: str
    role: Role
    doing: Doing
    heard: float | None
    """When it was heard last."""
    why: str = ""
    """Why it takes no part, in its own words: they are hostile until shown as `protocol.visible` shows them."""
    answer_by: float | None = None
    """When its answer is given up, if it owes one."""
    answers: Answers | None = None
    """A client's; None if there are none."""
    lateness: Lateness | None = None
    """A client's that was left out; None if it never was."""


@dataclass(frozen=True, slots=True)
class WitnessStatus:
    """Another server, at the leader of a run that needs witnesses."""

    name: str
    doing: Doing
    height: int | None
    """The newest record up to which its own app did what is recorded, as it signs; None if it has said nothing."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best model by now of a run that marks one, as its server has seen."""

    by: str
    """The text of a `protocol.keeping.best.BestBy`: hostile until shown."""
    round: int | None
    """The round that sent it; None if there is none yet, or the app does not name its rounds."""
    value: float | None
    """The mean of what its clients answered; None if there is none yet."""
    resumed: bool
    """Whether there are exchanges from before the server went on, which this does not count."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The run that a role leads or follows."""

    run: CID
    head: CID
    height: int
    closed: bool
    app: str
    """The app's name; empty if it is not known here."""
    round: int | None
    """The newest round that is known here, if the app names its rounds."""
    rounds: int | None
    """How many the app was asked for, by the setting `ROUNDS_KEY`."""
    keep: str = ""
    """The plan by which its contents stay or go (`protocol.keeping.plan`); empty if all stay, or it is not known."""
    best: Best | None = None
    """At its server, if it marks its best model."""
    closing: str = ""
    """The rule by which its exchanges close early (`protocol.replies.closing_rule`); empty if each waits for all."""
    term: int = 1
    leader: str = ""
    """Who leads it in that term; empty if that is not known here."""


@dataclass(frozen=True, slots=True)
class Work:
    """The message that a client works on."""

    type: str
    since: float


@dataclass(frozen=True, slots=True)
class Recomputation:
    """What a standby's own app made of the run that it follows."""

    exchanges: int = 0
    """How many of the server's pushes were equal."""
    height: int | None = None
    """The newest record up to which all that was compared is equal; None if nothing is yet."""
    undecided: int = 0
    """How many differ without this machine being able to tell why."""
    contradicted: int | None = None
    """The height at which it computed something else, again and again; None if it did not."""
    why: str = ""
    """Why nothing more can be told; empty if that is not so."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a keeper keeps, of the runs that it knows since it started and of those that are whole."""

    open: int
    """Runs that are not closed."""
    incomplete: int
    """Closed runs of which contents are missing here."""
    whole: int
    """Closed runs that are all here."""
    lacking: int
    """Contents that records name, and that are not here yet."""

    @property
    def runs(self) -> int:
        """All of them."""
        return self.open + self.incomplete + self.whole


MOST_MEMBERS: Final = 200

_URGENT: Final = (
    Doing.DISTRUSTED,
    Doing.REFUSING,
    Doing.WORKING,
    Doing.AWAY,
    Doing.LEFT,
    Doing.UNHEARD,
    Doing.HERE,
)


def most_urgent(members: Iterable[MemberStatus]) -> tuple[MemberStatus, ...]:
    """The members to show, those that need a look first."""
    return tuple(sorted(members, key=lambda member: (_URGENT.index(member.doing), member.name))[:MOST_MEMBERS])


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """What a role is doing."""

    role: Role
    state: str
    """The state of its machine, in lower case."""
    run: RunStatus | None
    members: tuple[MemberStatus, ...]
    """The members whom it has to do with: of a server its clients, of a client the servers, of a keeper both.
    `most_urgent` chose."""
    waits: tuple[Wait, ...]
    work: Work | None = None
    answers: Answers | None = None
    """Of this client; None if there are none."""
    means: Measures = ()
    """At a server: of what its clients measured last."""
    refuses: str = ""
    """Why this client takes no part in the run."""
    here: int = 0
    """How many of all those are here."""
    of: int = 0
    """How many those are."""
    recomputed: Recomputation | None = None
    """Of a standby; None of other roles."""
    witnesses: tuple[WitnessStatus, ...] = ()
    """At a server whose run needs witnesses: the other servers."""
    keeps: Kept | None = None
    """At a keeper."""
    takeover: TakeoverStatus | None = None
    """At a server in an open run."""
    offline: bool = False
    """Whether its engine has not answered for some time, so that nobody can be heard."""
    manifest_version: int = 1

    @property
    def called(self) -> str:
        """What people are told of the role."""
        return self.role.value if self.recomputed is None else STANDBY

    @property
    def is_paused(self) -> bool:
        """Whether it begins no exchange: no room on the disk, too few voters, or witnesses away for too long."""
        return any(
            wait.lack in (Lack.ROOM, Lack.VOTERS) or (wait.lack is Lack.WITNESSES and self.leads and wait.until is None)
            for wait in self.waits
        )

    @property
    def leads(self) -> bool:
        """Whether it is a server's that leads."""
        return self.role is Role.SERVER and self.recomputed is None


def rounds_of(config: RunConfig) -> int | None:
    """How many rounds an app was asked for; None if its settings do not say."""
    asked = dict(config).get(ROUNDS_KEY)
    return asked if type(asked) is int and 0 < asked < MAX_ROUNDS else None
