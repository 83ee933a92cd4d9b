"""Training: one way (`trainer.train`) for every net, and one file of recipe a net."""
