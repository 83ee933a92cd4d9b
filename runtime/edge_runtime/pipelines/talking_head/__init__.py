"""Speech → features that move a talking head's mouth."""
