"""How outputs sound and look, as tables of figures: `python -m edge_export.quality.NAME`."""
