"""How a newcomer joins: the ticket, and the messages between newcomer and inviter."""
