"""One folder for each system; each pipeline is composed of the runtime's stages."""
