/// A net that runs: Core ML on a phone (`EdgeCoreML`), onnxruntime, or recorded arrays in a test.
///
/// Arrays are in C order, single precision, in the shapes that the bundle's manifest gives.
public protocol Net: Sendable {
    /// Runs the net once: input name → array, to output name → array.
    func run(_ inputs: [String: NDArray<Float>]) async throws -> [String: NDArray<Float>]
}

/// A net with the names and lengths of its bundle: what the pipelines compose.
public struct BoundNet: Sendable {
    /// What executes it.
    public let net: any Net
    /// Names of its inputs, in the manifest's order.
    public let inputs: [String]
    /// Name of its output.
    public let output: String
    private let tensors: [Manifest.Tensor]
    private let axes: [String: Manifest.Lengths]

    /// A net without a bundle: names alone, any lengths.
    public init(_ net: any Net, inputs: [String], output: String) {
        (self.net, self.inputs, self.output, tensors, axes) = (net, inputs, output, [], [:])
    }

    /// The net of a bundle.
    ///
    /// - Parameters:
    ///   - net: what executes the artifact.
    ///   - bundle: opened and checked.
    ///   - name: that its manifest must carry, as `hifigan`.
    ///   - target: `coreml` or `onnx`: the artifact that `net` runs.
    ///   - precision: `fp32` or `fp16`.
    /// - Throws: `EdgeError` of kind `bundle`: of another net, or without the artifact.
    public init(
        _ net: any Net, of bundle: EdgeBundle, named name: String, target: String, precision: String = "fp32"
    ) throws {
        let manifest = bundle.manifest
        guard manifest.net == name else {
            throw EdgeError(
                .bundle, "\(bundle.url.path): net", got: manifest.net, expected: name,
                cause: "is it the right bundle?")
        }
        guard let output = manifest.outputs.first, manifest.outputs.count == 1, !manifest.inputs.isEmpty
        else {
            throw EdgeError(
                .bundle, "\(bundle.url.path): outputs", got: "\(manifest.outputs.count)",
                expected: "one, and inputs")
        }
        self.net = net
        inputs = manifest.inputs.map(\.name)
        self.output = output.name
        tensors = manifest.inputs
        axes = try manifest.artifact(target: target, precision: precision).axes
    }

    /// Which lengths the artifact takes on an axis of its first input.
    public func lengths(_ axis: Int) -> Manifest.Lengths {
        guard let tensor = tensors.first, axis < tensor.shape.count else { return .init() }
        switch tensor.shape[axis] {
        case .fixed(let length): return .init(low: length, high: length, only: [length])
        case .named(let name): return axes[name] ?? .init()
        }
    }

    /// Runs the net once.
    ///
    /// - Throws: `EdgeError` of kind `input`: another shape than the manifest's; of kind `backend`: no such
    ///   output.
    public func callAsFunction(_ arrays: [String: NDArray<Float>]) async throws -> NDArray<Float> {
        var lengths: [String: Int] = [:]
        for tensor in tensors { try tensor.check(arrays[tensor.name]?.shape ?? [], lengths: &lengths) }
        for (axis, admitted) in axes { try admitted.check(lengths[axis], on: axis) }
        guard let result = try await net.run(arrays)[output] else {
            throw EdgeError(.backend, "the net", got: "no output \(output)", expected: "one of that name")
        }
        guard result.values.allSatisfy(\.isFinite) else {
            throw EdgeError(
                .backend, output, got: "NaN or infinity", expected: "finite values",
                cause: "half precision overflows: take the fp32 artifact, or other compute units")
        }
        return result
    }

    /// Runs a net of one input once.
    public func callAsFunction(_ array: NDArray<Float>) async throws -> NDArray<Float> {
        try await self([inputs.first ?? "": array])
    }
}

extension Manifest.Lengths {
    /// Refuses a length that the artifact does not take; nil, an axis that no input has, is none.
    func check(_ length: Int?, on axis: String) throws {
        guard let length else { return }
        let isAdmitted = only.isEmpty ? length % step == 0 : only.contains(length)
        guard low...(high ?? max(low, length)) ~= length, isAdmitted else {
            let multiples = step > 1 && only.isEmpty ? ", multiples of \(step)" : ""
            let numbers =
                only.isEmpty
                ? "\(low) to \(high.map { "\($0)" } ?? "any")" : only.map(String.init).joined(separator: ", ")
            throw EdgeError(
                .input, axis, got: "\(length) in one run",
                expected: "\(numbers)\(multiples), which the artifact takes")
        }
    }
}

/// A net that answers with arrays that were stored: what a reference pack holds of the PyTorch net.
///
/// Runs along the first axis are recognised by their input, so a batch may be cut anywhere; what was never
/// recorded is refused, with how far the nearest lies.
public struct RecordedNet: Net {
    private let input, output: String
    private let asked, answered: NDArray<Float>
    private let tolerance: Float

    /// A recording.
    ///
    /// - Parameters:
    ///   - input: name of the input.
    ///   - asked: (n, …), the inputs of n runs.
    ///   - output: name of the output.
    ///   - answered: (n, …), their outputs.
    ///   - tolerance: largest difference of an input that still is the recorded one.
    /// - Throws: `EdgeError` of kind `input`: not as many answers as questions.
    public init(
        input: String, asked: NDArray<Float>, output: String, answered: NDArray<Float>,
        tolerance: Float = 1e-3
    ) throws {
        guard asked.rows == answered.rows, asked.rows > 0 else {
            throw EdgeError(
                .input, "recorded net", got: "\(asked.rows) inputs and \(answered.rows) outputs",
                expected: "as many of each")
        }
        (self.input, self.asked, self.output, self.answered) = (input, asked, output, answered)
        self.tolerance = tolerance
    }

    /// The recorded outputs of these inputs.
    public func run(_ inputs: [String: NDArray<Float>]) async throws -> [String: NDArray<Float>] {
        guard let array = inputs[input], array.shape.dropFirst() == asked.shape.dropFirst() else {
            let got = inputs[input].map { described($0.shape) } ?? "no array"
            throw EdgeError(
                .input, input, got: got,
                expected: "(n, \(asked.shape.dropFirst().map(String.init).joined(separator: ", ")))")
        }
        let (size, answer) = (asked.values.count / asked.rows, answered.values.count / answered.rows)
        var values: [Float] = []
        var next = 0
        for row in 0..<array.rows {
            let found = try find(array.values[row * size..<(row + 1) * size], from: next, row: row)
            values += answered.values[found * answer..<(found + 1) * answer]
            next = (found + 1) % asked.rows
        }
        return [output: NDArray(checked: [array.rows] + answered.shape.dropFirst(), values)]
    }

    private func find(_ question: ArraySlice<Float>, from start: Int, row: Int) throws -> Int {
        let size = question.count
        var nearest = Float.infinity
        for offset in 0..<asked.rows {
            let candidate = (start + offset) % asked.rows
            let known = asked.values[candidate * size..<(candidate + 1) * size]
            let distance = zip(question, known).reduce(0) { max($0, abs($1.0 - $1.1)) }
            if distance <= tolerance { return candidate }
            nearest = min(nearest, distance)
        }
        throw EdgeError(
            .input, input, got: "run \(row), \(short(Double(nearest), 3)) from the nearest recorded one",
            expected: "within \(short(Double(tolerance)))", cause: "a stage before the net is off")
    }
}
