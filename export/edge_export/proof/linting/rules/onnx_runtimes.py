"""Rules about ONNX files: what named runtimes take, as far as their own lists tell.

A runtime that is asked for (``--runtime``) makes its finding an error; the others are notes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edge_export.proof.artifacts.base import Operation
from edge_export.proof.linting.subject import Found, Subject, rule

# opset → the first onnxruntime with it
FIRST_WITH_OPSET = {15: "1.10", 16: "1.11", 17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17", 21: "1.18"}
# IR version → the last onnxruntime that refused it (microsoft/onnxruntime#15874, #20559, #23602)
LAST_WITHOUT_IR = {9: "1.14.1", 10: "1.17.1", 11: "1.20.1"}
OLD_PHONES = 17  # opset that runtimes of three years ago take
USUAL_IR = 10

_MOBILE = """
Abs Add And ArgMax ArgMin AveragePool Cast Ceil Clip Concat ConstantOfShape Conv ConvTranspose Cos
CumSum DepthToSpace DequantizeLinear Div DynamicQuantizeLinear Elu Equal Erf Exp Expand Flatten
Floor Gather GatherND Gemm GlobalAveragePool Greater GreaterOrEqual Identity If
InstanceNormalization LRN LeakyRelu Less LessOrEqual Log LogSoftmax Loop MatMul MatMulInteger Max
MaxPool Mean Min Mul Neg NonMaxSuppression NonZero Not Or PRelu Pad Pow QLinearConv QLinearMatMul
QuantizeLinear Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape
Resize ReverseSequence Round Scan ScatterND Shape Sigmoid Sin Size Slice Softmax SpaceToDepth Split
Sqrt Squeeze Sub Sum Tanh ThresholdedRelu Tile TopK Transpose Unique Unsqueeze Where
"""
_NNAPI = """
Abs Add AveragePool Cast Clip Concat Conv DepthToSpace DequantizeLinear Div Elu Exp Flatten Floor
Gather Gemm GlobalAveragePool GlobalMaxPool Identity Log MatMul MaxPool Max Min Mul Neg Pad Pow
PRelu QLinearConv QLinearMatMul QuantizeLinear Relu Reshape Resize Sigmoid Sin Slice Softmax Sqrt
Squeeze Sub Tanh Transpose Unsqueeze
"""
_COREML = """
Add ArgMax AveragePool Cast Clip Concat Conv ConvTranspose Cos DepthToSpace Ceil Div Elu Erf Exp
GatherND Gemm Gelu GlobalAveragePool GlobalMaxPool GridSample GroupNormalization HardSigmoid
Identity InstanceNormalization LayerNormalization LeakyRelu MatMul MaxPool Max Mul Pow PRelu Range
Reciprocal ReduceSum ReduceMean ReduceMax Relu Reshape Resize Round Shape Sin Slice Softplus Split
Sub Sigmoid Softmax Sqrt Squeeze Tanh Tile Transpose Unsqueeze
"""
_TRACT = """
Abs Acos Acosh Add And ArgMax ArgMin ArrayFeatureExtractor Asin Asinh Atan Atanh AveragePool
BatchNormalization BitShift Cast Ceil Clip Compress Concat ConstantLike ConstantOfShape Conv
ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather
GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual
HardSigmoid Hardmax Identity If InstanceNormalization IsInf IsNaN LRN LSTM LeakyRelu Less
LessOrEqual Log LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min Mod Mul Neg NonMaxSuppression
NonZero Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RNN Range Reciprocal
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize Round Rsqrt Scan Scatter ScatterElements ScatterND Selu Shape
Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze
Sub Sum Tan Tanh ThresholdedRelu Tile Transpose Unsqueeze Where Xor
"""

# `mnnconvert -f ONNX --OP` of MNN 3.6.1
_MNN = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift
Cast CastLike Ceil Celu Clip Compress Concat ConcatFromSequence ConstantOfShape Conv ConvTranspose
Cos Cosh CumSum DepthToSpace DequantizeLinear Det Div Dropout DynamicQuantizeLinear Einsum Elu Equal
Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool
GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid HardSwish Identity If
InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop
LpNormalization LpPool MatMul Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization Min
Mod Mul Neg NegativeLogLikelihoodLoss NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow
QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round STFT Scatter ScatterElements
ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert
SequenceLength Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss
Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu
Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor
"""


@dataclass(frozen=True)
class Runtime:
    """What a runtime takes: operators, None where it takes all of them; what it does with others; limits."""

    operators: frozenset[str] | None
    otherwise: str  # what becomes of the rest
    source: str
    half: bool = True  # takes float16
    opset: int | None = None
    rank: int | None = None
    one_dimensional: bool = True  # takes convolutions and pools of one dimension


RUNTIMES: Mapping[str, Runtime] = MappingProxyType(
    {
        "onnxruntime-mobile": Runtime(
            frozenset(_MOBILE.split()),
            "the package of fewer operators (to 1.18) does not load the file; onnxruntime-android does",
            "https://onnxruntime.ai/docs/reference/operators/mobile_package_op_type_support_1.11.html",
            half=False,
            opset=15,
        ),
        "onnxruntime-web": Runtime(
            None,
            "WebAssembly has all operators of the CPU; int64 outputs come as BigInt64Array",
            "https://www.npmjs.com/package/onnxruntime-web",
        ),
        "nnapi": Runtime(
            frozenset(_NNAPI.split()),
            "these stay on the CPU, with a copy at each border",
            "https://onnxruntime.ai/docs/execution-providers/NNAPI-ExecutionProvider.html",
            one_dimensional=False,
        ),
        "coreml-provider": Runtime(
            frozenset(_COREML.split()),
            "these stay on the CPU, with a copy at each border",
            "https://onnxruntime.ai/docs/execution-providers/CoreML-ExecutionProvider.html",
            rank=5,
        ),
        "tract": Runtime(
            frozenset(_TRACT.split()),
            "tract does not load the file",
            "https://github.com/sonos/tract",
        ),
        "ncnn": Runtime(
            None,
            "pnnx converts it with one fixed shape (inputshape=[…]); tensors have four axes at most",
            "https://github.com/Tencent/ncnn/wiki/use-ncnn-with-pytorch-or-onnx",
            rank=4,
        ),
        "mnn": Runtime(
            frozenset(_MNN.split()),
            "MNNConvert writes them as operations that nothing runs",
            "https://github.com/alibaba/MNN/tree/master/tools/converter/source/onnx, MNN 3.6.1",
        ),
    }
)


@rule(
    "opset",
    severity="warning",
    costs="older runtimes on devices refuse the file",
    instead="opset 17, as `edge-export export` writes",
    rests_on="https://onnxruntime.ai/docs/reference/compatibility.html",
    kinds=("onnx",),
)
def opset(subject: Subject) -> Iterator[Found]:
    number = int(subject.facts.get("opset", 0))
    if number > OLD_PHONES:
        first = FIRST_WITH_OPSET.get(number, "1.21")
        yield Found(f"opset {number}: onnxruntime {first} and later")


@rule(
    "ir-version",
    severity="warning",
    costs="«Unsupported model IR version» on devices with an older runtime",
    instead="IR version 8 to 10: model.ir_version = 8 before onnx.save",
    rests_on="https://github.com/microsoft/onnxruntime/issues/23602, https://github.com/k2-fsa/sherpa-onnx/issues/3261",
    kinds=("onnx",),
)
def ir_version(subject: Subject) -> Iterator[Found]:
    number = int(subject.facts.get("ir_version", 0))
    if number > USUAL_IR:
        yield Found(f"IR version {number}: onnxruntime newer than {LAST_WITHOUT_IR.get(number, '1.20.1')}")


@rule(
    "runtimes",
    severity="note",
    costs="the runtime refuses the file, or runs these operations elsewhere",
    instead="what is in the runtime's list, or another runtime",
    rests_on="the list that each line names",
    kinds=("onnx",),
)
def runtimes(subject: Subject) -> Iterator[Found]:
    asked = tuple(subject.facts.get("runtimes", ()))
    for name, runtime in RUNTIMES.items():
        problems, places = _problems(subject, runtime)
        if problems:
            words = f"{name}: {'; '.join(problems)} — {runtime.otherwise} ({runtime.source})"
            yield Found(words, places, "error" if name in asked else None)


def _problems(subject: Subject, runtime: Runtime) -> tuple[list[str], tuple[Operation, ...]]:
    problems: list[str] = []
    places: list[Operation] = []
    if runtime.operators is not None:
        others = [op for op in subject.operations if op.type not in runtime.operators]
        if others:
            counted = Counter(op.type for op in others).most_common()
            problems.append("without " + ", ".join(f"{kind} ({count})" for kind, count in counted))
            places += others
    if not runtime.half and subject.half:
        problems.append("without float16")
    if runtime.opset and int(subject.facts.get("opset", 0)) > runtime.opset:
        problems.append(f"up to opset {runtime.opset}, this is {subject.facts['opset']}")
    if runtime.rank:
        high = [op for op in subject.operations if any(len(v.shape or ()) > runtime.rank for v in op.outputs)]
        if high:
            problems.append(f"{len(high)} tensors of more than {runtime.rank} axes")
            places += high
    if not runtime.one_dimensional:
        flat = [
            op for op in subject.operations if op.type in ("Conv", "ConvTranspose") and _one_dimensional(op)
        ]
        if flat:
            problems.append(f"{len(flat)} convolutions of one dimension, it takes two")
            places += flat
    return problems, tuple(places)


def _one_dimensional(operation: Operation) -> bool:
    return any(len(value.shape or ()) == 3 for value in operation.arguments)
