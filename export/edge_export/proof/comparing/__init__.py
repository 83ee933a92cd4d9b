"""Two artifacts that somebody wrote, run on the same inputs: `compare` and its parts."""
