"""What a training leaves that was refused, stopped or killed; one training at a time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning
import pytest
from lightning.pytorch.callbacks import Callback
from tests.training.vocoder.tiny_run import fit, fit_elsewhere

from edge_runtime.errors import InputError, TargetError
from edge_runtime.store.targets import locked_folder
from edge_training.engine.run_checkpoints import checkpoint_steps
from edge_training.engine.run_folder import in_run_folder


class Ends(Callback):
    """Raises an error after a step."""

    def __init__(self, step: int, error: BaseException) -> None:
        self.step, self.error = step, error

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise self.error


REFUSAL = InputError("clip", got="noise", expected="speech", cause="listen to it")


def test_without_a_checkpoint_nothing_is_left(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clip: got noise, expected speech; listen to it$"):
        fit(corpus, tmp_path / "deep" / "run", steps=4, callbacks=[Ends(2, REFUSAL)])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(KeyboardInterrupt):
        fit(corpus, tmp_path / "empty", steps=4, callbacks=[Ends(2, KeyboardInterrupt())])
    assert list((tmp_path / "empty").iterdir()) == []


def test_with_a_checkpoint_the_run_stays_and_says_so(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """checkpoint_every is 2; also what Lightning makes of Ctrl-C is made good."""
    run = tmp_path / "run"
    cure = "continue from step 2 with --resume"
    with pytest.raises(InputError, match=f"listen to it; {cure}$"):
        fit(corpus, run, steps=8, checkpoint_every=2, callbacks=[Ends(3, REFUSAL)])
    assert list(checkpoint_steps(run)) == [2]
    ends = Ends(3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fit(corpus, run, steps=8, checkpoint_every=2, resume=True, config=None, callbacks=[ends])
    assert cure in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_killed_trainings_left_is_swept(tmp_path: Path) -> None:
    """Under any name: the next training writes other files than the one that was killed."""
    places = [tmp_path, tmp_path / "plots", tmp_path / "checkpoints", tmp_path / "checkpoints" / "best"]
    for place in places:
        half = place / ".edge-export-00000000-step-00000005.ckpt" / "new"
        half.mkdir(parents=True)
        (half / "step-00000005.ckpt").write_text("half")
    with in_run_folder(tmp_path, fresh=False):
        assert not list(tmp_path.rglob(".edge-export-*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "plots"]


def test_one_training_at_a_time(corpus: Path, tmp_path: Path) -> None:
    with locked_folder(tmp_path / "run"), pytest.raises(TargetError, match="another process is using"):
        fit(corpus, tmp_path / "run", steps=1)
    assert list((tmp_path / "run").iterdir()) == []


# a file system that only the training sees, and that ends with it; the table fits, the first checkpoint not
SMALL_DISK = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("unshare") is None or os.geteuid() != 0,
    reason="mounting a small file system needs Linux and root",
)
def test_a_full_disk_is_one_sentence(corpus: Path, tmp_path: Path) -> None:
    within = ["unshare", "--mount", "sh", "-c", SMALL_DISK, str(tmp_path)]
    run = "vocoder.tiny_run.fit_where_it_ends"
    ended = fit_elsewhere(corpus, tmp_path / "run", run=run, within=within, steps="2", checkpoint_every="1")
    assert ended.returncode == 0, ended.stderr
    *_, refusal, left = ended.stdout.splitlines()
    assert refusal.startswith(f"TargetError: {tmp_path}/run/checkpoints/")
    assert "got no space left on the disk" in refusal
    assert left == "[]"


def test_a_limit_of_file_sizes_is_one_sentence(corpus: Path, tmp_path: Path) -> None:
    """What torch says of it is an «unexpected pos», without the system's number."""
    before = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))"
    ended = fit_elsewhere(corpus, tmp_path / "run", before=before, steps="2", checkpoint_every="1")
    last = ended.stderr.splitlines()[-1]
    assert "TargetError" in last, ended.stderr
    assert "a file larger than this process may write" in last
    assert list(tmp_path.iterdir()) == []


def test_training_loads_onnxruntime_without_its_reports() -> None:
    """Lightning imports torchmetrics, and that onnxruntime: before, each training wrote TMPDIR/.ses."""
    code = "import edge_training.engine.config, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    bare = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
