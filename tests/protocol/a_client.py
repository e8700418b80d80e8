"""Alice's machine as tests feed it: a client that hears of a run, and what it wants done."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from chains import ALICE, SERVER, TIME, Blocks, Scribe, begun, id_of, reader_of

from protocol.blocks.cid import CID, cbor_block
from protocol.chain.closure import missing
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.effects import (
    Effect,
    FetchRecord,
    Publish,
    Report,
    What,
)
from protocol.roles.events import (
    Due,
    Event,
    Fetched,
    Received,
    Started,
)
from protocol.roles.following.followed_run import NOTHING as NOTHING_VERIFIED
from protocol.roles.following.followed_run import Verified
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import (
    Announcement,
    Head,
    PeerStatus,
    Position,
    Said,
    parse_announcement,
    sign_announcement,
)

NOTHING: Mapping[CID, KeptRun] = MappingProxyType({})
OWN = cbor_block("the app that the owner named").cid
E = TypeVar("E", bound=Effect)


class AClient:
    """Alice's machine, and the run that it hears of."""

    def __init__(
        self,
        plan: ClientPlan,
        scribe: Scribe | None = None,
        kept: Mapping[CID, KeptRun] = NOTHING,
        verified: Verified = NOTHING_VERIFIED,
        session: bytes = b"",
    ) -> None:
        self.scribe = scribe or begun()
        manifest = TrustedManifest(self.scribe.manifest, self.scribe.source)
        author = Author(id_of(ALICE), (ALICE,), 1, reader_of(ALICE), session)
        self.machine = Client(author, manifest, plan, kept, verified)
        self.now = TIME
        self.effects: list[Effect] = []
        self.done: set[int] = set()
        self._counter = 0
        self.feed(Started(()))

    def feed(self, event: Event) -> None:
        """Let it take an event; records that it wants are there."""
        for effect in self.machine.handle(event, self.now):
            self.effects.append(effect)
            if isinstance(effect, FetchRecord):
                self.feed(Fetched(effect.id, self._record(effect.cid)))

    def _record(self, cid: CID) -> dict[CID, bytes]:
        source = self.scribe.source
        blocks = {cid: source[cid]}
        while lacking := missing(cid, Blocks(blocks)):
            blocks.update((each, source[each]) for each in lacking)
        return blocks

    def hear(self) -> None:
        """The server announces the newest head."""
        chain = self.scribe.chain
        assert chain.head is not None
        self.hear_say(Head(Position(chain.run, chain.head, chain.height, chain.term)))

    def hear_say(self, body: Said) -> None:
        """The server announces something."""
        self._counter += 1
        said = Announcement(self.scribe.first.cid, id_of(SERVER), self._counter, body, (), ())
        seals = AnnouncementSeals(self.scribe.manifest, self.scribe.source)
        self.feed(Received(seals.seal(sign_announcement(said, SERVER))))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.feed(Due())

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def reported(self, what: What) -> list[Any]:
        return [report.fields for report in self.all(Report) if report.what is what]

    @property
    def note(self) -> str:
        """The note of its last hello or beat."""
        said = [parse_announcement(each.data).announcement.body for each in self.all(Publish)]
        return [body for body in said if isinstance(body, PeerStatus)][-1].note


def plan(app: CID | None = OWN, approved: frozenset[CID] | None = frozenset(), **changes: Any) -> ClientPlan:
    return ClientPlan(app, bytes(32), approved=approved, **changes)
