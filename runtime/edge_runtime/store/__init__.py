"""What lies on the disk: bundles, dataclasses as JSON, arrays that grow, targets that are absent or whole."""
