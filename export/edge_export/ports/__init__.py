"""Source files for developers of a port: tests of a reference pack, a typed wrapper of a bundle."""
