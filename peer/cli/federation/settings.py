"""``peer federation set``: what holds in all runs of a federation."""

from __future__ import annotations

from peer.cli.federation import voters, witnesses
from peer.cli.options import grouped, new_app

app = new_app("set", "Change what holds in all runs of the federation. Admins only.")

app.command("voters")(grouped(voters.set_voters))
app.command("witnesses")(grouped(witnesses.set_witnesses))
