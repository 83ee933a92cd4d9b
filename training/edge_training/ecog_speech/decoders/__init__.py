"""ECoG → speech parameters: one config, a family of nets a file."""
