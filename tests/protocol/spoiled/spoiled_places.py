"""Records that break one rule of `protocol.chain.rules` 6 to 20: place, author, what the app saw, indexes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chains import (
    ADMIN,
    ALICE,
    BOB,
    CONTENT,
    SECOND,
    SERVER,
    STRANGER,
    TIME,
    Scribe,
    begun,
    id_of,
    unsigned_federation,
)
from rostered import rekeyed, without
from spoiling import Spoiled, breaks, signed

from protocol.chain import rules
from protocol.federation.unsigned_versions import next_version
from protocol.records.bodies import Look


def filled_until(height: int) -> Callable[[], Scribe]:
    """A start whose head has ``height``, and in which no message is open."""

    def start() -> Scribe:
        scribe = begun()
        scribe.add(scribe.collect(scribe.error(ALICE), scribe.error(BOB)))
        scribe.fill_until(height)
        return scribe

    return start


# -- its place in the chain ----------------------------------------------------------------------------------------


@breaks(rules.ChainedType)
def a_reply(s: Scribe) -> Spoiled:
    return signed(s, s.reply_body(ALICE), s.dispatch(), ALICE)


@breaks(rules.ChainedType, Scribe)
def a_manifest(s: Scribe) -> Spoiled:
    return signed(s, unsigned_federation().body, s.run(), ADMIN)


@breaks(rules.RunFirst, Scribe)
def a_close_first(s: Scribe) -> Spoiled:
    return signed(s, s.close(), s.run())


@breaks(rules.RunFirst)
def a_second_run_record(s: Scribe) -> Spoiled:
    return signed(s, s.run(), s.dispatch())


@breaks(rules.RunFirst, Scribe)
def a_run_record_that_has_seen_an_empty_pull(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, empties=1), good)


@breaks(rules.RunFirst, Scribe)
def a_run_record_that_has_looked(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, looks=s.pack([s.look(ALICE)])), good)


@breaks(rules.RunLink)
def a_record_of_another_run(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, run=CONTENT), good)


@breaks(rules.RunLink)
def a_record_of_no_run(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, run=None), good)


@breaks(rules.PrevLink)
def a_link_to_the_record_before_the_head(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, prev=s.chain.run), good)


@breaks(rules.PrevLink, Scribe)
def a_run_record_with_a_record_before_it(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, prev=CONTENT), good)


@breaks(rules.Height)
def a_height_too_high(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, height=good.height + 1), good)


@breaks(rules.Height)
def a_height_again(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, height=good.height - 1), good)


@breaks(rules.Term)
def a_later_term(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, term=2), good)


@breaks(rules.Term, Scribe)
def a_run_in_a_later_term(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, term=2), good)


def _closed() -> Scribe:
    scribe = begun()
    scribe.add(scribe.close())
    return scribe


@breaks(rules.AfterClose, _closed)
def a_dispatch_after_the_close(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(), None)


@breaks(rules.AfterClose, _closed)
def a_second_close(s: Scribe) -> Spoiled:
    return signed(s, s.close(), None)


# -- who says so ---------------------------------------------------------------------------------------------------


@breaks(rules.ManifestFollows)
def a_roster_of_a_manifest_signed_by_a_stranger(s: Scribe) -> Spoiled:
    unsigned = next_version(s.manifest, by=id_of(ADMIN), time=TIME)
    bad, good = s.next_manifest(unsigned, STRANGER), s.next_manifest(unsigned)
    return signed(s, s.roster(bad.cid), s.roster(good.cid))


@breaks(rules.ManifestFollows)
def a_roster_that_names_no_manifest(s: Scribe) -> Spoiled:
    return signed(s, s.roster(s.chain.run), s.roster(s.with_dave().cid))


@breaks(rules.ManifestFollows, Scribe)
def a_run_in_another_federation(s: Scribe) -> Spoiled:
    other = s.next_manifest(unsigned_federation(name="another"))
    return signed(s, s.run(manifest=other.cid), s.run())


@breaks(rules.RosterNewer)
def a_roster_of_the_manifest_in_force(s: Scribe) -> Spoiled:
    return signed(s, s.roster(s.manifest.cid), s.roster(s.with_dave().cid))


def _rostered() -> Scribe:
    scribe = begun()
    scribe.add(scribe.roster(scribe.with_dave().cid))
    return scribe


def _rostered_twice() -> Scribe:
    scribe = _rostered()
    scribe.add(scribe.roster(scribe.chain.manifest.cid))
    return scribe


@breaks(rules.RosterNewer, _rostered_twice)
def a_roster_that_ends_twice_the_say_of_the_voters_before(s: Scribe) -> Spoiled:
    return signed(s, s.roster(s.chain.manifest.cid), s.dispatch())


@breaks(rules.RosterNewer, _rostered)
def a_roster_of_an_older_manifest(s: Scribe) -> Spoiled:
    return signed(s, s.roster(s.manifest.cid), s.dispatch())


@breaks(rules.OneLeader)
def a_record_by_another_server(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, by=id_of(SECOND)), good, SECOND)


@breaks(rules.LeaderRole, Scribe)
def a_run_by_a_client(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, by=id_of(ALICE)), good, ALICE)


@breaks(rules.LeaderRole, Scribe)
def a_run_by_a_stranger(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, by=id_of(STRANGER)), good, STRANGER)


@breaks(rules.LeaderRole, without(SERVER))
def a_record_by_a_leader_who_has_left(s: Scribe) -> Spoiled:
    return signed(s, s.close(), None)


@breaks(rules.LeaderKey)
def a_record_signed_by_another_member(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, good, good, SECOND)


@breaks(rules.LeaderKey, rekeyed("server", SERVER, STRANGER))
def a_record_signed_with_the_leaders_old_key(s: Scribe) -> Spoiled:
    return signed(s, s.close(), None, SERVER)


# -- what the app saw ----------------------------------------------------------------------------------------------


@breaks(rules.LookNodes)
def a_look_out_of_order(s: Scribe) -> Spoiled:
    look = s.look(ALICE, BOB)
    return _looked(s, Look(nodes=look.nodes[::-1], count=1))


@breaks(rules.LookNodes)
def a_look_that_shows_one_node_twice(s: Scribe) -> Spoiled:
    return _looked(s, s.look(ALICE, ALICE))


@breaks(rules.LookNodes)
def a_look_that_shows_the_server(s: Scribe) -> Spoiled:
    return _looked(s, s.look(ALICE, SERVER))


@breaks(rules.LookNodes)
def a_look_that_shows_a_stranger(s: Scribe) -> Spoiled:
    return _looked(s, s.look(STRANGER))


def _looked(s: Scribe, look: Look) -> Spoiled:
    good = s.close(looks=s.pack([s.look(ALICE, BOB)]))
    return signed(s, replace(good, looks=s.pack([s.look(ALICE), look])), good)


# -- index ---------------------------------------------------------------------------------------------------------


@breaks(rules.IndexPlace)
def an_index_where_none_is_due(s: Scribe) -> Spoiled:
    return signed(s, s.index(), s.close())


@breaks(rules.IndexPlace, filled_until(255))
def no_index_where_one_is_due(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(), s.index())


@breaks(rules.IndexLinks, filled_until(255))
def an_index_newest_first(s: Scribe) -> Spoiled:
    return signed(s, s.index(records=s.chain.recent[::-1]), s.index())


@breaks(rules.IndexLinks, filled_until(255))
def an_index_with_a_link_left_out(s: Scribe) -> Spoiled:
    return signed(s, s.index(records=s.chain.recent[1:]), s.index())


@breaks(rules.IndexLinks, filled_until(255))
def an_index_with_a_wrong_link(s: Scribe) -> Spoiled:
    return signed(s, s.index(records=(CONTENT, *s.chain.recent[1:])), s.index())
