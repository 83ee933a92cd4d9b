"""A bundle as a typed Swift structure over `EdgeRuntime.Net`: `edge-export export … --swift FILE`.

Inputs and outputs become parameters and properties whose doc comments say shape, unit and the range in the
reference cases; a bundle of another net or other weights is refused by the generated code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edge_runtime.errors import ConfigError, TargetError
from edge_runtime.store.bundle import Bundle, Tensor
from edge_runtime.store.targets import replace_file

# words that Swift keeps for itself and that stand where a name is expected
KEYWORDS = frozenset(
    """
    as break case catch class continue default defer deinit do else enum extension fallthrough false
    fileprivate for func guard if import in init inout internal is let nil operator private protocol public
    repeat rethrows return self static struct subscript super switch throw throws true try typealias var
    where while
    """.split()  # noqa: SIM905  a list of a line each would be longer than this file
)
WIDTH = 110  # columns of the generated file
FIRST_LINE = "// Written by edge-export for one bundle; made anew with `edge-export export … --swift`."

_FILE = """{first_line}

import EdgeRuntime

/// The net `{net}`.
///
/// Weights: {source}.
public struct {type}: Sendable {{
    /// Name of the net in the manifest.
    public static let name = {name}
    /// SHA-256 of the weights that the bundle was made from.
    public static let weightsSHA256 = {sha256}
{geometry}
    /// What one run gives.
    public struct Outputs: Sendable {{
{properties}
    }}

    private let net: any Net
    private let inputs: [Manifest.Tensor]

    /// The net of the bundle that this file was made for.
    ///
    /// - Parameters:
    ///   - net: what executes its artifact, as `CoreMLNet`.
    ///   - bundle: opened and checked.
    /// - Throws: `EdgeError` of kind `bundle`: of another net, or of other weights.
    public init(_ net: any Net, bundle: EdgeBundle) throws {{
        let manifest = bundle.manifest
        guard manifest.net == Self.name, manifest.source.sha256 == Self.weightsSHA256 else {{
            throw EdgeError(
                .bundle, bundle.url.path,
                got: "\\(manifest.net), weights \\(manifest.source.sha256.prefix(12))…",
                expected: "\\(Self.name), weights \\(Self.weightsSHA256.prefix(12))…",
                cause: "the wrapper was written for another bundle")
        }}
        (self.net, inputs) = (net, manifest.inputs)
    }}

    /// Runs the net once.
    ///
    /// - Parameters:
{parameter_docs}
    /// - Throws: `EdgeError`: another shape than the manifest's, or what executes the net fails.
    public func callAsFunction({parameters}) async throws -> Outputs {{
        let arrays = [{arrays}]
        var lengths: [String: Int] = [:]
        for tensor in inputs {{ try tensor.check(arrays[tensor.name]?.shape ?? [], lengths: &lengths) }}
        let answers = try await net.run(arrays)
        func answer(_ name: String) throws -> NDArray<Float> {{
            guard let array = answers[name] else {{
                throw EdgeError(.backend, Self.name, got: "no output \\(name)", expected: "one of that name")
            }}
            return array
        }}
        return try Outputs({answers})
    }}
}}
"""


def write_wrapper(bundle: Bundle, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the wrapper of a bundle.

    Args:
        bundle: opened.
        path: of the file to make, NAME.swift.
        overwrite: replace a wrapper that is there.

    Raises:
        ConfigError: another suffix than .swift, or a net that takes or gives whole numbers.
        TargetError: the file exists (and is no wrapper, or ``overwrite`` is not given) or cannot be written.
    """
    place = check_target(path, overwrite)
    text = wrapper(bundle)
    with replace_file(place, overwrite=True) as fresh:
        fresh.write_text(text, encoding="utf-8")
    return place


def check_target(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The path, refused before long work begins if a wrapper cannot be written there."""
    place = Path(path)
    if place.suffix != ".swift":
        raise ConfigError("--swift", got=str(place), expected="a file NAME.swift")
    if place.is_file() and not _is_wrapper(place):
        raise TargetError(
            str(place), got="a file that edge-export did not write", expected="a path that does not exist yet"
        )
    if place.exists() and not overwrite:
        raise TargetError(
            str(place), got="an existing file", expected="a path that does not exist yet",
            cause="overwrite=True (--overwrite) replaces it",
        )  # fmt: skip
    return place


def _is_wrapper(place: Path) -> bool:
    with place.open("rb") as file:
        return file.read(len(FIRST_LINE.encode())) == FIRST_LINE.encode()


def wrapper(bundle: Bundle) -> str:
    """The text of the file; ConfigError for a net that takes or gives anything but floats."""
    manifest = bundle.manifest
    tensors = (*manifest.inputs, *manifest.outputs)
    for tensor in tensors:
        if tensor.dtype not in ("float16", "float32"):
            raise ConfigError(
                "--swift",
                got=f"{manifest.net} with {tensor.name} of {tensor.dtype}",
                expected="a net of floats",
            )
    names = _identifiers(tensors)
    ranges = _ranges(bundle)
    return _FILE.format(
        first_line=FIRST_LINE,
        net=manifest.net,
        source=_plain(f"{manifest.source.file}, {manifest.source.format}"),
        type=type_name(manifest.net),
        name=_literal(manifest.net),
        sha256=_literal(manifest.source.sha256),
        geometry="".join(_geometry(bundle)),
        properties="\n".join(
            "\n".join([*_comment(8, _described(tensor, ranges)), _property(names[tensor.name])])
            for tensor in manifest.outputs
        ),
        parameter_docs="\n".join(
            line
            for tensor in manifest.inputs
            for line in _comment(
                4, f"  - {names[tensor.name].strip('`')}: {_described(tensor, ranges)}", "    "
            )
        ),
        parameters=", ".join(f"{names[tensor.name]}: NDArray<Float>" for tensor in manifest.inputs),
        arrays=", ".join(f"{_literal(tensor.name)}: {names[tensor.name]}" for tensor in manifest.inputs),
        answers=", ".join(
            f"{names[tensor.name].strip('`')}: answer({_literal(tensor.name)})" for tensor in manifest.outputs
        ),
    )


def type_name(net: str) -> str:
    """``audio-encoder`` → ``AudioEncoderNet``.

    >>> type_name("mel-inversion")
    'MelInversionNet'
    """
    return "".join(word[:1].upper() + word[1:] for word in _words(net)) + "Net"


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]


def _identifiers(tensors: Sequence[Tensor]) -> dict[str, str]:
    """Names of tensors as Swift names, all different."""
    found: dict[str, str] = {}
    for tensor in tensors:
        first, *rest = _words(tensor.name) or ["tensor"]
        name = first[:1].lower() + first[1:] + "".join(word[:1].upper() + word[1:] for word in rest)
        name = f"_{name}" if name[0].isdigit() else name
        while name in found.values() or f"`{name}`" in found.values():
            name += "_"
        found[tensor.name] = f"`{name}`" if name in KEYWORDS else name
    return found


def _geometry(bundle: Bundle) -> Iterator[str]:
    geometry = bundle.manifest.geometry
    for name, value, meaning in (
        ("hopLength", geometry.hop_length, "Samples a frame."),
        ("contextFrames", geometry.context_frames, "Frames to each side that a chunk needs."),
    ):
        if value is not None:
            yield f"    /// {meaning}\n    public static let {name} = {value}\n"


def _described(tensor: Tensor, ranges: dict[str, str]) -> str:
    shape = ", ".join(map(str, tensor.shape))
    unit = f" ({tensor.unit})" if tensor.unit else ""
    met = f"; {ranges[tensor.name]} in the reference cases" if tensor.name in ranges else ""
    return _plain(f"({shape}), {tensor.meaning}{unit}{met}.")


def _ranges(bundle: Bundle) -> dict[str, str]:
    """Least and largest value of each tensor over the reference cases."""
    ends: dict[str, list[float]] = {}
    for case in bundle.cases:
        inputs, outputs = bundle.reference(case)
        for name, values in (inputs | outputs).items():
            wide = np.asarray(values, np.float64)
            ends.setdefault(name, []).extend([float(wide.min()), float(wide.max())])
    return {name: f"{min(values):.4g} to {max(values):.4g}" for name, values in ends.items()}


def _property(name: str) -> str:
    return f"        public let {name}: NDArray<Float>"


def _comment(indent: int, text: str, hanging: str = "") -> Iterator[str]:
    """Lines of a doc comment, wrapped at `WIDTH`."""
    start = " " * indent + "/// "
    words = text.split(" ")
    line = words[0]
    for word in words[1:]:
        if len(start) + len(line) + 1 + len(word) > WIDTH:
            yield start + line
            line = hanging + word
        else:
            line += " " + word
    yield start + line


def _plain(text: str) -> str:
    """Text of a manifest for one line of a comment."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _literal(text: str) -> str:
    escaped = "".join(
        c if c.isprintable() and c not in '"\\' else f"\\u{{{ord(c):x}}}" for c in text
    )  # fmt: skip
    return f'"{escaped}"'
