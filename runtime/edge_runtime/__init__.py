"""Runs exported speech nets; its signal processing needs numpy alone."""
