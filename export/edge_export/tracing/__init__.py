"""The PyTorch net as it is traced: norms folded away, weights rounded where float16 takes no more."""
