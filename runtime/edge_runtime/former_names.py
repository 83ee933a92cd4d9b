"""Module names from before the present layout: `edge_runtime.audio` is `edge_runtime.media.audio`.

They work, with a DeprecationWarning, until 0.2. A former name is the same module object as the new one, not a
second copy of it, and ``python -m`` takes former names too. `install` is called once by each package's own
``__init__``.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

# former name → name, below the package
FORMER = {
    "spectral": "dsp.spectral",
    "mel": "dsp.mel",
    "magnitude": "dsp.magnitude",
    "griffin_lim": "dsp.griffin_lim",
    "resampling": "dsp.resampling",
    "windows": "dsp.windows",
    "overlap": "dsp.overlap",
    "quality": "dsp.quality",
    "audio": "media.audio",
    "video": "media.video",
    "pictures": "media.pictures",
    "masks": "media.masks",
    "bundle": "store.bundle",
    "records": "store.dataclass_json",
    "arrays": "store.growing_arrays",
    "files": "store.targets",
    "scaler": "store.scaler",
    "pipelines.net": "pipelines.bundle_net",
    "pipelines.pack": "pipelines.pack_files",
    "pipelines.inversion_nets": "pipelines.mel_inversion.nets",
    "pipelines.inversion_pack": "pipelines.mel_inversion.pack",
    "pipelines.conditioning": "pipelines.mel_inversion.conditioning",
}


class FormerNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of one package under their former names."""

    def __init__(self, package: str, names: Mapping[str, str]) -> None:
        self.names = {f"{package}.{old}": f"{package}.{new}" for old, new in names.items()}
        self.specs: dict[str, ModuleSpec | None] = {}
        # folders that held nothing but moved modules
        self.folders = {old.rpartition(".")[0] for old in self.names} - {package}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for former names only; the import system calls this after its own finders."""
        del path, target
        if fullname in self.names:
            origin = importlib.util.find_spec(self.names[fullname])
            return ModuleSpec(fullname, self, origin=origin.origin if origin else None)
        return ModuleSpec(fullname, self, is_package=True) if fullname in self.folders else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The present module itself; an empty package for a folder that no longer exists."""
        if spec.name in self.folders:
            return None
        today = self.names[spec.name]
        warnings.warn(f"{spec.name} is called {today} now", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(today)
        self.specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute; gives the module its own spec back, which the import system has replaced."""
        former = module.__spec__.name if module.__spec__ else ""
        if former in self.specs:
            module.__spec__ = self.specs.pop(former)

    def get_code(self, fullname: str) -> CodeType | None:
        """For ``python -m``."""
        spec = importlib.util.find_spec(self.names[fullname]) if fullname in self.names else None
        loader = spec.loader if spec else None
        return (
            loader.get_code(self.names[fullname]) if isinstance(loader, importlib.abc.InspectLoader) else None
        )


def install(package: str, names: Mapping[str, str]) -> None:
    """Let the modules of ``package`` be found under these former names too."""
    sys.meta_path.append(FormerNames(package, names))
