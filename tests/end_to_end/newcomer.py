"""A newcomer that comes with a ticket while the admin's server waits for clients."""

from __future__ import annotations

from federation import APPS, Federation, PeerProcess

from peer.base.errors import ExitCode

APP = APPS / "marking"


def command(federation: Federation, name: str, *arguments: str) -> PeerProcess:
    """A ``peer`` command in a home, on the federation's engine, done."""
    home = federation.home(name).path
    process = federation.run(name, *arguments, "--home", home, "--ipfs", federation.engine, "-v", "--json")
    assert process.code() == ExitCode.DONE, process.said
    return process


def join_and_train(federation: Federation) -> None:
    """Invite, join, and take part in the run that waits for a client."""
    server = federation.server(APP, clients=1, MARK=str(federation.root / "mark"))
    server.wait_for("waiting-for-clients")
    ticket = command(federation, "server", "federation", "invite", "--name", "hospital-b", "--role", "client").json
    joined = command(federation, "newcomer", "join", ticket["ticket"], "--no-passphrase").json
    federation.names.append("newcomer")
    client = federation.client("newcomer", APP, MARK=str(federation.root / "mark"))

    assert (joined["name"], joined["roles"]) == ("hospital-b", ["client"])
    assert [client.code(), server.code()] == [ExitCode.DONE, ExitCode.DONE], client.said + server.said
    assert server.events("joined")[0]["name"] == "hospital-b"
