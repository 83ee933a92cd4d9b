"""ECoG → speech parameters → speech: three decoders, the speech encoder, the formant synthesizer."""
