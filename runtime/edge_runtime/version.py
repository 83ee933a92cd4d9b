"""The version of all three packages: pyproject.toml and manifests take it from here, installed or not."""

VERSION = "0.1.0"
