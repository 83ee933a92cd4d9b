"""Where two artifacts begin to differ: every intermediate, operation by operation.

kinds.py        one vocabulary for what torch, ONNX and MIL call their operations
values.py       steps of a graph, recorded values, layouts, errors in decibels
torch_truth.py  runs the PyTorch net and records every call, its module and its line of Python
onnx_graph.py   runs an ONNX file with every tensor visible, any of them replaced
mil_graph.py    the same for a Core ML package, in our executor
origins.py      the side file of a bundle: operation ↔ module ↔ line of Python
matching.py     which tensor of one is which of the other
culprits.py     introduced and propagated errors, dominators, the first culprit
repro.py        a bundle of only the culprit, with the inputs that it had
nets.py         `edge-export bisect BUNDLE`
packs.py        `edge-export bisect PACK CANDIDATE`; guesses.py: what a front end did instead
"""
