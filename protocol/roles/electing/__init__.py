"""How a role takes part in elections, by the rules in `protocol.votes`: our vote, our candidacy, and who follows us."""
