"""Audio, video, pictures and masks: what comes from files and goes into them."""
