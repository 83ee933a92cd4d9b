"""By hand: a net of several gigabytes becomes a bundle, is proved and run; memory and minutes of each step.

    python -m tests.large_export /tmp/large [--gigabytes 2.6]

Each step runs in a process of its own and says its largest resident memory. Files mapped into memory count as
far as they were read. Needs three times the weights in free disk space (fp32 alone is exported).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType

from tests import wide_net

from edge_export import catalog, convert
from edge_export.backends import get_backend
from edge_export.proof.verify import table, verify
from edge_runtime.pipelines.bundle_net import BundleNet
from edge_runtime.store.bundle import open_bundle

WIDTH = 2560
STEPS = ("export", "onnxruntime", "openvino", "onnx-reference", "run")


def config_of(gigabytes: float) -> wide_net.WideConfig:
    """As many layers as make up the weights."""
    layer = wide_net.WideConfig(0, WIDTH, 1).weight_bytes
    return wide_net.WideConfig(1000, WIDTH, round(gigabytes * 1e9 / layer))


def step(name: str, place: Path, gigabytes: float) -> None:
    if name == "export":
        config = config_of(gigabytes)
        catalog.NETS = MappingProxyType({**catalog.NETS, "wide": wide_net.NET})
        made = convert.export(
            "wide", place, random=0, config=config.to_json(), targets=["onnx"], precisions=["fp32"]
        )
        (artifact,) = made.manifest.artifacts
        print(f"{config.weight_bytes / 1e9:.2f} GB of weights: {artifact.path} {artifact.bytes / 1e3:.0f} kB")
        for file in artifact.data:
            print(f"{file.path} {file.bytes / 1e9:.2f} GB")
    elif name == "run":
        bundle = open_bundle(place, verify=False)
        width = bundle.manifest.config["width"]
        net = BundleNet(
            bundle,
            "wide",
            takes={"tokens": (1, None), "mask": (1, None), "bias": (1, width), "offset": (1,)},
            gives={"states": (1, None, width), "winners": (1, None), "loud": (1, None)},
            backend=get_backend("onnxruntime"),
            device="cpu",
            threads=1,
            precision="fp32",
        )
        inputs, _ = bundle.reference("n-8")
        print({output: values.shape for output, values in net.run_all(inputs).items()})
    else:
        proof = verify(open_bundle(place, verify=False), backends=[name])
        print(table(proof.rows), proof.summary(), sep="\n")
        assert proof.passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path)
    parser.add_argument("--gigabytes", type=float, default=2.6)
    parser.add_argument("--step", choices=STEPS)
    given = parser.parse_args()
    if given.step:
        step(given.step, given.place, given.gigabytes)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"{given.step}: largest resident memory {peak / 1e9:.2f} GB")
        return
    for name in STEPS:
        started = time.perf_counter()
        command = [sys.executable, "-m", "tests.large_export", str(given.place), "--step", name]
        subprocess.run([*command, "--gigabytes", str(given.gigabytes)], check=True)
        print(f"{name}: {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
