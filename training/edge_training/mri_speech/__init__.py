"""Real-time MRI → mel: the net, data preparation, losses, recipe, Grad-CAM."""
