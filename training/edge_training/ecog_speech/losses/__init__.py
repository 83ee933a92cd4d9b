"""What both stages are trained on, term by term."""
