"""Whether artifacts, and ports, give the numbers of the PyTorch net."""
