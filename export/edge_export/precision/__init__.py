"""Per-layer precision, by ear: which layers may be how coarse before somebody hears it.

formats.py     weights as float16, int8 per channel or palettes: their bytes, and what a device reads back
rounding.py    the PyTorch net with chosen formats, rounded to float16 between operations
quality.py     what a budget is, and how an output is judged
search.py      the damage of each layer in each format, then the cheapest mix within the budget
artifacts.py   writes the mix: Core ML with coremltools.optimize, ONNX with Cast and Mul
timing.py      for milliseconds: which artifact on which runtime of this machine, bfloat16 on OpenVINO too
optimise.py    `edge-export optimise`: the new bundle with its Pareto table and picture
"""
