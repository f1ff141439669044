"""One file per row of the leaderboard."""
