"""Training steps per second: this project's trainer beside a straightforward eager loop of the same nets.

    python -m edge_training.vocoder.throughput --preset v2 --batch 2 --rounds 5
    python -m edge_training.vocoder.throughput --preset v1 --batch 16 --device cuda --precision bf16-mixed

The straightforward loop is the textbook's: mel bases built for each call; real and generated audio through
the discriminators one after the other; the generator's step backward through everything, discriminators'
weights and features of real audio included, whose gradients the next step discards. The trainer instead

    1. makes bases and windows once, and takes the net's mel and the loss's mel from one transform
    2. judges real and generated audio in one pass when the discriminators learn
    3. freezes the discriminators when the generator learns: no gradients of their weights
    4. takes no gradients through the features of real audio there, and norms each weight once for both passes
    5. on CUDA asks for no value before it has arrived, updates all weights in one kernel (fused AdamW), lets
       cuDNN time its algorithms, and copies batches while it computes

The textbook reads its losses after each step, as loops that print them do.

Both run the same batches from the same weights; losses of the first step are compared. On the CPU times are
CPU seconds of the process, alternating, the best of several rounds: a busy machine slows both, and rarely the
best. On CUDA they are wall-clock seconds a step over all rounds, first the trainer's, then the textbook's,
each between two waits for the device, after steps to warm up.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edge_runtime.dsp.mel import MelConfig
from edge_training.engine.items import Item, training_loader
from edge_training.engine.logs import quiet
from edge_training.spectral.mels import TorchMel
from edge_training.vocoder.discriminators import Judgement
from edge_training.vocoder.hifigan_recipe import PRESETS, HifiGanFit, HifiGanModule
from edge_training.vocoder.losses import adversarial_loss, discriminator_loss


class Noise:
    """Training data without files: items are drawn at random."""

    names: tuple[str, ...] = ("noise",)
    validation_names: tuple[str, ...] = ()

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def item(self, clip: int, draw: np.random.Generator) -> Item:
        wav = 0.3 * draw.standard_normal(self.samples)
        return {"wav": wav.astype(np.float32), "name": self.names[clip]}

    def validation_item(self, clip: int) -> Item:
        raise IndexError(clip)


# ---- the straightforward loop -----------------------------------------------------------------------------


class Textbook:
    """Alternating steps as one would write them straight from the paper."""

    def __init__(self, module: HifiGanModule, device: str = "cpu", precision: str = "32-true") -> None:
        self.config = module.config
        self.device = torch.device(device)
        self.half = precision == "bf16-mixed"
        module = module.to(self.device)
        self.generator, self.mpd, self.msd = module.generator, module.mpd, module.msd
        config = self.config
        judges = [*(self.msd.parameters() if self.msd is not None else ()), *self.mpd.parameters()]
        betas = (config.adam_b1, config.adam_b2)
        self.optimizers = [
            torch.optim.AdamW(parameters, config.learning_rate, betas, weight_decay=config.weight_decay)
            for parameters in (list(self.generator.parameters()), judges)
        ]

    def judge(self, audio: Tensor) -> list[Judgement]:
        """Judgements of all discriminators on (B, 1, N)."""
        judgements: list[Judgement] = self.mpd(audio)
        return judgements + self.msd(audio) if self.msd is not None else judgements

    def step(self, batch: Item) -> dict[str, float]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return self._step(batch["wav"].to(self.device).unsqueeze(1))

    def _mel(self, config: MelConfig) -> TorchMel:
        return TorchMel(config).to(self.device)

    def _step(self, real: Tensor) -> dict[str, float]:
        input_mel, loss_mel = self.config.mels
        fake = self.generator(self._mel(input_mel)(real)[0].squeeze(1))
        generator, judges = self.optimizers
        judges.zero_grad()
        judging = discriminator_loss(self.judge(real), self.judge(fake.detach()))
        judging.backward()  # type: ignore[no-untyped-call]
        judges.step()
        generator.zero_grad()
        mel = F.l1_loss(self._mel(loss_mel)(fake)[0], self._mel(loss_mel)(real)[0])
        judged_real, judged_fake = self.judge(real), self.judge(fake)
        feature = torch.stack(
            [
                F.l1_loss(theirs, ours)
                for r, f in zip(judged_real, judged_fake, strict=True)
                for theirs, ours in zip(r.features, f.features, strict=True)
            ]
        ).sum()
        config = self.config
        loss = config.lambda_mel * mel + config.lambda_feature * feature
        loss = loss + config.lambda_adversarial * adversarial_loss(judged_fake)
        loss.backward()  # type: ignore[no-untyped-call]
        generator.step()
        losses = {"loss/discriminator": judging, "loss/mel": mel, "loss/generator": loss}
        return {name: float(value.detach()) for name, value in losses.items()}


# ---- measuring --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Throughput:
    """Seconds a step, see the module's docstring, and the losses of the first step."""

    trainer: float
    textbook: float
    trainer_losses: Mapping[str, float]
    textbook_losses: Mapping[str, float]

    @property
    def gain(self) -> float:
        return self.textbook / self.trainer


class _Rounds(lightning.Callback):
    """Beside each of the trainer's steps, one of the textbook's, both timed."""

    def __init__(self, textbook: Textbook, batch: Callable[[int], Item]) -> None:
        self.textbook, self.batch = textbook, batch
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self.losses: list[dict[str, float]] = []
        self.first: dict[str, float] = {}
        self._began = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        self._began = time.process_time()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.ours.append(time.process_time() - self._began)
        if not self.first:
            self.first = {name: float(value) for name, value in trainer.callback_metrics.items()}
        batch = self.batch(len(self.losses))
        began = time.process_time()
        self.losses.append(self.textbook.step(batch))
        self.theirs.append(time.process_time() - began)


class _Steps(lightning.Callback):
    """Seconds of the trainer's steps after the first ones, between two waits for the device."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.first: dict[str, float] = {}
        self.began = self.ended = 0.0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, _module: Any, _outputs: Any, _batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self.first = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if batch_idx + 1 in (self.warm_up, trainer.max_steps):
            _wait(trainer.strategy.root_device)
            self.began, self.ended = self.ended, time.perf_counter()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_apart(
    config: HifiGanFit, rounds: int, device: str, precision: str, warm_up: int = 5
) -> Throughput:
    """Run the trainer, then the textbook, for `rounds` steps after `warm_up`, on a device; wall-clock."""
    data = Noise(config.segment_size)
    torch.manual_seed(config.seed)
    module = HifiGanModule(config, data)
    textbook = Textbook(copy.deepcopy(module), device, precision)

    def loader() -> Any:
        return training_loader(data, batch_size=config.batch_size, seed=config.seed, step=0, rank=0, world=1)

    timing = _Steps(warm_up)
    with quiet(), tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_steps=rounds + warm_up, max_epochs=-1, accelerator=device, devices=1, callbacks=[timing],
            precision=cast(Any, precision), benchmark=True, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=Path(folder),
            limit_val_batches=0,
        )  # fmt: skip
        trainer.fit(module, loader())
    batches = iter(loader())
    losses = [textbook.step(next(batches)) for _ in range(warm_up)]
    _wait(textbook.device)
    began = time.perf_counter()
    for _ in range(rounds):
        textbook.step(next(batches))
    _wait(textbook.device)
    theirs = (time.perf_counter() - began) / rounds
    return Throughput((timing.ended - timing.began) / rounds, theirs, timing.first, losses[0])


def measure(config: HifiGanFit, rounds: int) -> Throughput:
    """Run both for `rounds` steps after one to warm up, on the CPU."""
    data = Noise(config.segment_size)
    torch.manual_seed(config.seed)
    module = HifiGanModule(config, data)
    textbook = Textbook(copy.deepcopy(module))

    def loader() -> Any:
        return training_loader(data, batch_size=config.batch_size, seed=config.seed, step=0, rank=0, world=1)

    batches = iter(loader())
    timing = _Rounds(textbook, lambda _: next(batches))
    with quiet(), tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_steps=rounds + 1, max_epochs=-1, accelerator="cpu", devices=1, callbacks=[timing],
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=Path(folder), limit_val_batches=0,
        )  # fmt: skip
        trainer.fit(module, loader())
    return Throughput(min(timing.ours[1:]), min(timing.theirs[1:]), timing.first, timing.losses[0])


def main() -> None:
    """Command line: prints both rates and their ratio."""
    parser = argparse.ArgumentParser(description="Training steps per second beside a straightforward loop.")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="v2")
    parser.add_argument("--batch", type=int, default=2, help="segments of one step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="32-true", help="on CUDA")
    parser.add_argument("--channels-last", action="store_true", help="layout of the generator's tensors")
    parser.add_argument("--compile", action="store_true", help="the trainer's discriminators")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = replace(
        PRESETS[arguments.preset],
        batch_size=arguments.batch,
        channels_last=arguments.channels_last,
        compile_discriminators=arguments.compile,
    )
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("--device cuda: got no CUDA device, expected one; nvidia-smi lists them", file=sys.stderr)
        sys.exit(2)
    if arguments.device == "cpu":
        result = measure(config, arguments.rounds)
        where, unit = f"{arguments.threads} threads", "CPU second"
    else:
        result = measure_apart(config, arguments.rounds, arguments.device, arguments.precision)
        where, unit = f"{torch.cuda.get_device_name()}, {arguments.precision}", "second"
    print(f"{arguments.preset}, batch {arguments.batch} × {config.segment_size}, {where}")
    print(f"  trainer                {1 / result.trainer:8.4f} steps per {unit}")
    print(f"  straightforward loop   {1 / result.textbook:8.4f}")
    print(f"  ratio                  {result.gain:8.2f}")
    for name, value in result.textbook_losses.items():
        print(f"  {name}: {result.trainer_losses[name]:.6g} and {value:.6g}")


if __name__ == "__main__":
    main()
