"""Files that ship: a spoken sentence, and the demonstration weights of the nets."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
_IN_A_CLONE = _HERE.parents[2] / "reference_data" / "weights"

# spoken by espeak-ng; reference_data/manifest.json holds the command line
SENTENCE = _HERE / "sentence.wav"
# the wheel brings them along; in a clone they lie where their model cards and tests are
WEIGHTS = _HERE / "weights" if (_HERE / "weights").is_dir() else _IN_A_CLONE
