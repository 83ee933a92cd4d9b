"""Audio-visual synchronisation: AudioEncoder and SyncNet's face side, data, losses and recipe."""
