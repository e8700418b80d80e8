"""Asks a server on another machine for a run, and how that stands."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Final

from crypto.identity import Identity
from crypto.symmetric import SymmetricKey
from peer.base import logs
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import Engine, EngineError, Streams
from peer.home.federations import StoredFederation
from peer.home.reader_choice import reader_of
from protocol.jobs.answer import JobAnswer, NoAnswer, open_answer
from protocol.jobs.request import AskedAboutJob, AskedJob, JobQuestion, JobRequest, ToldJob, sign_question, sign_request
from protocol.wire.asking import BadMessage, Channel

ASK_AGAIN: Final = 1.0
"""Seconds until all nodes are asked again, as long as none answers."""

QUESTION_VALID: Final = 600
"""Seconds for which a question how a job stands counts: the two clocks may differ."""


@dataclass(frozen=True, slots=True)
class OtherServer:
    """The server ``server``, as it answers the member ``person``. It is asked through every node that is connected."""

    engine: Engine
    stored: StoredFederation
    server: bytes
    person: Identity

    def ask_for(self, request: JobRequest, seconds: float) -> JobAnswer:
        """What it says to a request, asked again and again for ``seconds``: asked twice, it is one job.

        Raises:
            PeerError: if it does not answer.
            EngineError: if our own engine cannot be used.
        """
        signed = sign_request(request, self.person.signing_keys[0])
        until = time.monotonic() + seconds
        while (answer := self._ask(AskedJob(signed), signed)) is None:
            if time.monotonic() >= until:
                raise PeerError(
                    f"{self.stored.manifest.called(self.server)} does not answer: it may have the job or not",
                    fix="see that it stands (peer serve there) and is reached (peer doctor here), and ask again with "
                    f"--key {request.key.hex()}, so that it is one job",
                    code=ExitCode.UNFINISHED,
                )
            time.sleep(ASK_AGAIN)
        return answer

    def ask_about(self, key: bytes, log_at: int | None) -> JobAnswer | None:
        """How the job stands that was asked for with ``key``, and what its app printed from byte ``log_at`` on; None if
        nobody answers now."""
        question = JobQuestion(
            federation=bytes(self.stored.id),
            to=self.server,
            by=self.person.id,
            key=key,
            expires=int(time.time()) + QUESTION_VALID,
            log_at=log_at,
        )
        signed = sign_question(question, self.person.signing_keys[0])
        return self._ask(AskedAboutJob("job", signed), signed)

    def _ask(self, asked: AskedJob | AskedAboutJob, signed: bytes) -> JobAnswer | None:
        channel = Channel(self.stored.id, self.server, SymmetricKey(self.stored.swarm_key))
        manifest, reader = self.stored.manifest, reader_of(self.person)
        try:
            self.engine.connect(self.stored.reached_at)
        except EngineError as error:
            logs.event("connect-failed", logging.DEBUG, why=str(error))
        for node in self._streams.nodes():
            try:
                told = channel.read(self._streams.ask(node, channel.name, channel.write(asked)), ToldJob)
                return open_answer(told.sealed, signed, self.server, manifest, reader)
            except (EngineError, BadMessage, NoAnswer) as error:
                logs.event("not-answered", logging.DEBUG, node=node, why=str(error))
        return None

    @property
    def _streams(self) -> Streams:
        if (streams := self.engine.streams) is None:
            raise PeerError(
                "other machines are asked over Kubo, and this engine is a folder",
                fix="ask on the server's machine: peer run --home ITS-HOME; or use a node: --ipfs kubo",
            )
        return streams
