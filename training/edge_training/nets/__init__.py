"""One file a net: a frozen config dataclass and an ``nn.Module``, nothing else."""
