"""What image-speech needs of heavier libraries: its bundles, its data, the scores that rank its pictures."""
