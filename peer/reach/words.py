"""What a test of reachability means, for people: which side is in the way, and what fixes it."""

from __future__ import annotations

from typing import Final

from peer.reach.reachability import Inward, Outward, Reachability
from protocol.wire.calling_back import Call
from protocol.wire.node_address import BadAddress, NodeAddress, Over

PORTS: Final = "docs/operations.md, ports and firewalls"


def outward_words(found: Reachability) -> tuple[str, str]:
    """Whether others are reached, and how to mend that (empty if nothing needs to be)."""
    if not found.outward:
        return "no address of another member is known", ""
    nodes = {_node(each) for each in found.outward}
    reached = {_node(each) for each in found.outward if each.outcome is Call.OPEN}
    failed = [each for each in found.outward if _node(each) not in reached]
    what = f"{len(reached)} of {len(nodes)} nodes of members are reached"
    if not failed:
        return what, ""
    reasons = [f"{_shown(each.address)}: {_why_not_out(each, found)}" for each in failed]
    fixes = dict.fromkeys(_fix_out(each) for each in failed) if not reached else {}
    return f"{what}; {'; '.join(reasons)}", "; ".join(fixes)


def inward_words(found: Reachability) -> tuple[str, str]:
    """Whether others reach this node, and how to mend that."""
    if not found.inward:
        what = (
            "this node tells nobody an address that others could reach, so it has to dial them: that is enough for a "
        )
        return f"{what}client", "to be reached: --listen IP:PORT, and behind a router --announce HOST:PORT"
    tried = [each for each in found.inward if each.outcomes]
    if not tried:
        return "no member that answers could try to reach this node", "try again while another member's peer runs"
    words = "; ".join(f"{_shown(each.address)}: {_why_not_in(each)}" for each in tried)
    return words, "" if found.is_reached else "; ".join(dict.fromkeys(_fix_in(each) for each in tried))


_WHY_NOT_OUT: Final = {
    Call.NO_ROUTE: "this side's machine has no way there, or its own firewall forbids it",
    Call.NO_NAME: "this side cannot look up that name",
    Call.CERTIFICATE: "this side does not trust the certificate of the web server there",
    Call.NO_WEBSOCKET: "the web server there does not forward WebSocket to a node, or the node is off",
    Call.PROXY: "this side's web proxy refuses, or reaches nobody there",
    Call.STRANGER: "what answers there is no node of this federation: a wrong address, or another swarm key",
}


def _why_not_out(each: Outward, found: Reachability) -> str:
    port = _port(each.address)
    same_port = any(_port(other.address) == port for other in found.outward if other.outcome is Call.OPEN)
    match each.outcome:
        case Call.DROPPED | Call.REFUSED if each.others is Call.OPEN:
            return f"a firewall on this side lets no TCP to port {port} out: another member reaches it"
        case Call.DROPPED if each.others is not Call.NOT_TRIED or same_port:
            return f"a firewall on that side drops it, or that machine is off: {_evidence(each)}"
        case Call.DROPPED:
            return (
                f"no answer. A firewall drops it: this side's if it lets no TCP to port {port} out, that side's if it "
                "lets none in"
            )
        case Call.REFUSED:
            return "that machine answers, and nothing listens at that port: its peer does not run, or listens elsewhere"
    return _WHY_NOT_OUT.get(each.outcome, "it cannot be used")


def _evidence(each: Outward) -> str:
    if each.others is not Call.NOT_TRIED:
        return "another member does not reach it either"
    return f"this side reaches port {_port(each.address)} elsewhere"


_FIX_OUT: Final = {
    Call.REFUSED: "start the peer there with --listen at that port",
    Call.NO_NAME: "mend DNS here, or, if this network has a web proxy, set HTTPS_PROXY and start the peer again",
    Call.CERTIFICATE: "start the peer here with SSL_CERT_FILE=FILE, the certificate of the authority that issued it",
    Call.PROXY: "let the proxy CONNECT to that name and port, or log in: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
    Call.NO_WEBSOCKET: "there: start the peer, and compare the web server with docs/web-server",
}


def _fix_out(each: Outward) -> str:
    if each.outcome in (Call.DROPPED, Call.NO_ROUTE):
        return f"allow outgoing TCP to port {_port(each.address)} here, incoming there, or use port 443 ({PORTS})"
    return _FIX_OUT.get(each.outcome, "ask an admin for a new ticket, or for the federation's file")


def _why_not_in(each: Inward) -> str:
    port, outcomes = _port(each.address), set(each.outcomes)
    if Call.OPEN in outcomes:
        return f"reached by {each.outcomes.count(Call.OPEN)} of {len(each.outcomes)} members"
    if Call.REFUSED in outcomes:
        return (
            "members get as far as that machine, and nothing listens at that port: a router or web server on this side "
            "does not forward it"
        )
    if Call.CERTIFICATE in outcomes:
        return "members do not trust the certificate of this side's web server"
    if Call.NO_WEBSOCKET in outcomes:
        return "members reach this side's web server, and it does not forward WebSocket to this node"
    if Call.DROPPED in outcomes:
        return (
            f"a firewall or router on this side lets no TCP to port {port} in: members that are connected get no answer"
        )
    if Call.NO_NAME in outcomes:
        return "members cannot look up that name, or it leads into their own networks"
    return "members have no way there: their networks do not lead to that address"


def _fix_in(each: Inward) -> str:
    port, outcomes = _port(each.address), set(each.outcomes)
    if outcomes & {Call.NO_WEBSOCKET, Call.CERTIFICATE} or (_is_web(each.address) and Call.REFUSED in outcomes):
        return (
            "compare the web server with docs/web-server, and its certificate with the authorities that members trust"
        )
    if outcomes & {Call.REFUSED, Call.DROPPED}:
        return f"allow incoming TCP to port {port}, and forward it to this machine if there is a router ({PORTS})"
    return "announce an address that members can reach: --announce HOST:PORT"


def _port(address: str) -> int:
    try:
        return NodeAddress.parse(address).port
    except BadAddress:
        return 0


def _is_web(address: str) -> bool:
    try:
        return NodeAddress.parse(address).over is Over.WSS
    except BadAddress:
        return False


def _node(each: Outward) -> str:
    """The node that an address names; the address if it names none."""
    return each.address.rpartition("/p2p/")[2]


def _shown(address: str) -> str:
    """An address without the node's name, which nobody reads."""
    return address.partition("/p2p/")[0]
