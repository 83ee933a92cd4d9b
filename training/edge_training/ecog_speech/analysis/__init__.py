"""What a trained decoder is worth, and which electrodes it reads."""
