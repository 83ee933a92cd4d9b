"""Training data, one file a system: what lies on the disk → items by number."""
