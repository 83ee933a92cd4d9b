"""One file a system, each a plain composition of the runtime's stages."""
