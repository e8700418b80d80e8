"""The rules of who leads a run next: what a voter may promise, when a candidate has won, and what is settled then.

Raft's rules (Ongaro and Ousterhout, "In search of an understandable consensus algorithm", 2014, sections 5.2 and 5.4;
Ongaro's dissertation, sections 4.2.3 and 9.6), as far as they fit a chain that members verify and no leader is trusted
in. All of it is values in, values out: frozen, and equal if they say the same. What a role does by these rules is in
`protocol.roles.electing`.
"""
