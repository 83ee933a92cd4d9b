"""Gates: what an artifact's sound loses for ears, and its features for a face (`judging`, `measures`)."""
