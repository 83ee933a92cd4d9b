"""Two prompts → one picture that is also a spectrogram → speech."""
