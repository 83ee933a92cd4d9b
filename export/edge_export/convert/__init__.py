"""A checkpoint, or random weights from a seed → a bundle, whole or not at all.

The order: read and build, run the PyTorch net on the reference cases (float32, evaluation mode, one thread,
so that sums are the same in each run), write the artifacts, write the manifest last, rename. A process that
is killed leaves no bundle.

The same input gives the same bytes with the same versions of the libraries; a bundle holds no time stamp and
no path, and of the checkpoint only its name and hash.

request.py      what was asked for, checked before any work is done
libraries.py    what each target is written with
building.py     the PyTorch net and its weights
artifacts.py    the net in every target, precision and form
writing.py      reference cases, artifacts and manifest: the bundle
exporting.py    `export` joins them
chunks.py       a net in two bundles
"""

from edge_export.convert.building import case_axes, module_of
from edge_export.convert.exporting import export
from edge_export.convert.request import DEFAULT_PRECISIONS, DEFAULT_TARGETS, precisions_for

__all__ = ["DEFAULT_PRECISIONS", "DEFAULT_TARGETS", "case_axes", "export", "module_of", "precisions_for"]
