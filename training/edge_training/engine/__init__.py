"""Training over Lightning: what every recipe shares."""
