"""Foreign weight files → state dicts, strictly and without running their code."""
