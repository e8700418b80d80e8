"""How a newcomer joins: the ticket, and what newcomer and inviter say to each other."""
