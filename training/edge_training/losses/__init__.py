"""Training losses, one file a system."""
