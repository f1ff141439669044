"""One file per method of the leaderboard."""
