"""Elections as a role takes part in them: our vote in a run, our own candidacy, and who follows us if we lead."""
