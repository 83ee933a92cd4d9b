"""What a device will make of an artifact, told before it sees it: `lint` and its rules, a file a family."""
