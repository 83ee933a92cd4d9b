"""Module → Core ML package, in canonical bytes."""
