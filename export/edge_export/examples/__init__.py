"""Random weights, and speech and video made by rule, for reference cases."""
