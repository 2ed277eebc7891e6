"""Several runs on one leaderboard."""
