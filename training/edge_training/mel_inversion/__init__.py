"""Mel → magnitude, and Deep Griffin-Lim: nets, data, losses and recipes."""
