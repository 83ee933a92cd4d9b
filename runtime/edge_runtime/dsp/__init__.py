"""Signal processing: STFT, mel front ends, inversion, resampling, windows, figures of quality."""
