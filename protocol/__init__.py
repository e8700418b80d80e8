"""The pure core: blocks, records, chain rules, announcements and the role state machines."""
