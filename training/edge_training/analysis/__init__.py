"""What a trained net looks at."""
