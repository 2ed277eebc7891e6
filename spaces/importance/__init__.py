"""Which channels matter: ten scores, and the elimination that tells what each width loses."""
