"""Notices what other commands change in the home of a run that goes on: its federation, and the apps that may run."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from peer.base import logs
from peer.base.errors import PeerError
from peer.home.federations import FederationStore
from peer.home.home import Stamp
from peer.home.journal import Journal
from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest
from protocol.roles.events import AppsApproved, ManifestChanged


class HomeWatch:
    """Compares the home with what the run knows, so that nothing is lost that changed before the first look."""

    def __init__(self, federations: FederationStore, federation: CID, journal: Journal, *, with_apps: bool) -> None:
        """``with_apps``: it looks at which apps the owner has approved, too."""
        self._federations = federations
        self._federation = federation
        self._journal = journal
        self._with_apps = with_apps
        self._stamp: Stamp | None = None
        self._approved: frozenset[CID] | None = None
        self._told = ""
        self.addresses: tuple[str, ...] = ()
        """Where other members' engines are, as the home heard by the last look."""

    def look(self, known: Manifest) -> list[ManifestChanged | AppsApproved]:
        """What was changed in the home, of which the run does not know yet. ``known`` is the manifest that it knows.

        Verifying a new version is slow, so do not call it in an event loop.
        """
        try:
            found: list[ManifestChanged | AppsApproved] = [*self._of_federation(known), *self._of_apps()]
        except (PeerError, OSError) as error:  # the run goes on with what it knows
            if (why := str(error)) != self._told:
                self._told = why
                logs.event("home-unreadable", logging.WARNING, why=why)
            return []
        self._told = ""
        return found

    def _of_federation(self, known: Manifest) -> Iterator[ManifestChanged]:
        stamp = self._federations.stamp(self._federation)
        if stamp == self._stamp or (stored := self._federations.get(self._federation)) is None:
            return
        self._stamp, self.addresses = stamp, stored.addresses
        newest = stored.manifest
        if newest.cid != known.cid and newest.version >= known.version:  # else what the run has learned is not kept yet
            yield ManifestChanged(newest.cid, stored.blocks)

    def _of_apps(self) -> Iterator[AppsApproved]:
        if self._with_apps and (approved := self._journal.approved_apps()) != self._approved:
            self._approved = approved
            yield AppsApproved(approved)
