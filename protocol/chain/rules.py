"""The chain rules: a numbered table, each with its error class and why it is there.

A rule's number is its place in `RULES` and in docs/protocol.md. Audits show its name. Its docstring gives the reason in
one line. `protocol.chain.chain` checks the rules; if a record breaks several, the error names the first one met.

*In force* goes by position: a record is judged by the manifest in force at its ``prev`` (a run record by the manifest
that it names), a reply by the manifest in force at the collect that takes it.
"""

from __future__ import annotations

from typing import ClassVar, Final

from crypto.dsse import BadSignature
from protocol.blocks.cid import BlockError, BlockMismatch, MalformedBlock, MalformedCid
from protocol.federation.manifest import ManifestError
from protocol.federation.readers import WrongKey
from protocol.records.signed_records import Record, WellSigned

RULES: Final[dict[int, type[BrokenRule]]] = {}
"""Every rule by its number."""


class BrokenRule(BlockError):
    """A record that breaks a chain rule; ``str`` says what is wrong with it."""

    number: ClassVar[int]
    name: ClassVar[str]
    """As audits show it, in kebab-case."""
    why: ClassVar[str]

    def __init_subclass__(cls, number: int, name: str) -> None:
        cls.number, cls.name, cls.why = number, name, cls.__doc__ or ""
        assert number == len(RULES) + 1, "rules are numbered in order"
        RULES[number] = cls


# -- the block -----------------------------------------------------------------------------------------------------


class BlockHash(BrokenRule, number=1, name="block-hash"):
    """A block hashes to the CID that links it; otherwise a link would say nothing."""


class CanonicalEncoding(BrokenRule, number=2, name="canonical-encoding"):
    """A block is the canonical dag-cbor of its value and within the size limit, so that a value has one CID."""


class RecordShape(BrokenRule, number=3, name="record-shape"):
    """A record and the listings in it have exactly the fields of their type: what is not understood is not trusted."""


class PrivatePart(BrokenRule, number=4, name="private-part"):
    """A private part that can be read holds what its type says; types that have none leave it empty."""


class SignatureValid(BrokenRule, number=5, name="signature"):
    """Every signature in a record is right, so that nobody carries a wrong one along as if it were."""


# -- its place in the chain ----------------------------------------------------------------------------------------


class ChainedType(BrokenRule, number=6, name="chained-type"):
    """Replies and manifests are not in the chain themselves: its records link them."""


class RunFirst(BrokenRule, number=7, name="run-first"):
    """A chain begins with a run record, whose app has seen nothing yet, and holds no other run record."""


class RunLink(BrokenRule, number=8, name="run-link"):
    """Every record names its run, so that none can be moved to another."""


class PrevLink(BrokenRule, number=9, name="prev-link"):
    """A record links the one before it; the run record has none before it."""


class Height(BrokenRule, number=10, name="height"):
    """The height is the distance from the run record, so that nobody can lie about a chain's length."""


class Term(BrokenRule, number=11, name="term"):
    """The first term is 1, and rises only by a takeover, so that two leaders are never right at once."""


class AfterClose(BrokenRule, number=12, name="after-close"):
    """Nothing follows a close: the result of a finished run is final."""


# -- who says so ---------------------------------------------------------------------------------------------------


class ManifestFollows(BrokenRule, number=13, name="manifest"):
    """A manifest follows from version 1 with enough signatures (`protocol.federation.manifest.ManifestRule`)."""


class RosterNewer(BrokenRule, number=14, name="roster-newer"):
    """A roster names a later version than the one in force, or that one to end the say of the voters before it."""


class OneLeader(BrokenRule, number=15, name="one-leader"):
    """One member leads in a term."""


class LeaderRole(BrokenRule, number=16, name="leader-role"):
    """The leader is listed as a server in the manifest in force."""


class LeaderKey(BrokenRule, number=17, name="leader-key"):
    """A record is signed with the key that the manifest in force gives to its author."""


# -- what the app saw ----------------------------------------------------------------------------------------------


class LookNodes(BrokenRule, number=18, name="look-nodes"):
    """A look lists client members in rising order: the app is shown nobody else, and replay needs one order."""


# -- index ---------------------------------------------------------------------------------------------------------


class IndexPlace(BrokenRule, number=19, name="index-place"):
    """Every 256th height is an index, or the next after takeovers there, and no other: readers know where to look."""


class IndexLinks(BrokenRule, number=20, name="index-links"):
    """An index links the 256 records before it, oldest first: it is a shortcut, not a second opinion."""


# -- dispatch ------------------------------------------------------------------------------------------------------


class DispatchEmpty(BrokenRule, number=21, name="dispatch-empty"):
    """A dispatch sends something: one message at least, and each group has an addressee."""


class GroupKind(BrokenRule, number=22, name="group-kind"):
    """A group's kind is among the dispatch's private kinds, each of which is listed once."""


class Addressee(BrokenRule, number=23, name="addressee"):
    """Only clients are asked: members in force, or nodes of the app's newest look, even if they were removed since."""


class MessageUnique(BrokenRule, number=24, name="message-unique"):
    """No two open messages have one id; otherwise a reply could answer either."""


class MessageIdTrue(BrokenRule, number=25, name="message-id"):
    """A message id is the hash of `protocol.records.message_ids`, so that a resumed run sends the same messages."""


# -- collect -------------------------------------------------------------------------------------------------------


class CollectEmpty(BrokenRule, number=26, name="collect-empty"):
    """A collect hands over an answer or says what is unanswered; an empty pull is counted instead."""


class AnswersOpen(BrokenRule, number=27, name="answers-open"):
    """A collect answers open messages only, once each; otherwise a client could count twice."""


class UnansweredOpen(BrokenRule, number=28, name="unanswered-open"):
    """What a collect calls unanswered is open after it, and named once."""


class ErrorReason(BrokenRule, number=29, name="error-reason"):
    """An error's reason is among the collect's private reasons, each of which is listed once."""


# -- reply ---------------------------------------------------------------------------------------------------------


class ReplyType(BrokenRule, number=30, name="reply-type"):
    """What a collect takes or refuses is a reply record."""


class ReplyNames(BrokenRule, number=31, name="reply-names"):
    """A reply names the run, message and dispatch that it answers, so that none can be used twice."""


class ReplyAuthor(BrokenRule, number=32, name="reply-author"):
    """A reply is by its addressee, which is still a client member at the collect."""


class ReplyKey(BrokenRule, number=33, name="reply-key"):
    """A reply is signed with the key that the manifest in force at the collect gives to its author."""


class ReplyAnswer(BrokenRule, number=34, name="reply-answer"):
    """A reply holds a content or an error code, one of the two."""


class ReplyReason(BrokenRule, number=35, name="reply-reason"):
    """Only an error has a reason, and no longer one than the federation allows (if the reader can read that limit)."""


# -- who can read it -------------------------------------------------------------------------------------------------


class KeysLink(BrokenRule, number=36, name="keys-link"):
    """If a manifest encrypts, a run and each roster bring the keys of a new epoch: members who left read no more."""


class KeysRecord(BrokenRule, number=37, name="keys-record"):
    """An epoch's keys are the leader's, signed like the record that links them, and carry those of the epoch before."""


class KeysReaders(BrokenRule, number=38, name="keys-readers"):
    """An epoch's keys are wrapped for those whose roles let them read, all of them and nobody else."""


class KeysTrue(BrokenRule, number=39, name="keys-true"):
    """What a reader unwraps is what all are told of: a server cannot show two readers two models."""


class RecordEpoch(BrokenRule, number=40, name="record-epoch"):
    """A private part is encrypted in the newest epoch, or plain if nothing is encrypted."""


class ReplyEpoch(BrokenRule, number=41, name="reply-epoch"):
    """A reply is encrypted in an epoch that has begun, under a key sealed to it; or plain if nothing is."""


# -- exchanges that do not wait for all ----------------------------------------------------------------------------


class LeftOut(BrokenRule, number=42, name="left-out"):
    """A message is left out only as the run record says, by an error, beside enough replies to the same dispatch."""


class LateReplies(BrokenRule, number=43, name="late-replies"):
    """A late reply is to a message left out before, of its client's newest two, and is told of once."""


# -- takeover ------------------------------------------------------------------------------------------------------


class TakeoverVotes(BrokenRule, number=44, name="takeover-votes"):
    """A vote is for this very run, term, leader, head, manifest and dispute, so that none counts in another one."""


class VoteAuthor(BrokenRule, number=45, name="vote-author"):
    """Only voters vote, by the manifest in force or before the newest roster, each once, in rising order of member."""


class VoteKey(BrokenRule, number=46, name="vote-key"):
    """A vote is signed with the key that the manifest in force gives to its author."""


class TakeoverMajority(BrokenRule, number=47, name="takeover-majority"):
    """More than half of the voters voted, also of those before the newest roster, and its author: one wins a term."""


class TakeoverDispute(BrokenRule, number=48, name="takeover-dispute"):
    """A takeover against a record shows it, and that more than half of the servers came to one other content."""


class TakeoverWarrant(BrokenRule, number=49, name="takeover-warrant"):
    """A takeover by warrant shows it: an admin's, in force, for this very run, for its author, and to end this term."""


def check_signed(record: Record, known: WellSigned) -> None:
    """Check the signatures of ``record``, unless it is ``known``. Compare its signers first: that costs nothing.

    Raises:
        SignatureValid: if a signature is wrong.
    """
    try:
        record.check_signatures(known)
    except BadSignature as error:
        raise SignatureValid(f"{record.cid}: {error}") from error


def as_rule(error: BlockError) -> BrokenRule:
    """The rule that a malformed block, record, listing or manifest breaks."""
    match error:
        case BrokenRule():
            return error
        case ManifestError():
            return ManifestFollows(str(error))
        case WrongKey():
            return KeysTrue(str(error))
        case BlockMismatch():
            return BlockHash(str(error))
        case MalformedBlock() | MalformedCid():
            return CanonicalEncoding(str(error))
        case _:
            return RecordShape(str(error))
