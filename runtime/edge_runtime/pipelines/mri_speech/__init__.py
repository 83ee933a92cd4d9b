"""Real-time MRI video of the vocal tract → speech."""
