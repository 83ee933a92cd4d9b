"""Nets, checkpoints and their training, in PyTorch."""
