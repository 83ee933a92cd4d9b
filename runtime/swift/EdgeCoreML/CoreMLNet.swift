// Compiled on Apple's systems only. The tests of this package run on Linux and cover all that this file calls of
// EdgeRuntime; Core ML itself they cannot.
#if canImport(CoreML)
    import CoreML
    import EdgeRuntime
    import Foundation

    /// A bundle's Core ML artifact, compiled once, checked against the manifest, and run off the caller's thread.
    ///
    ///     let bundle = try EdgeBundle(contentsOf: url)
    ///     let head = try TalkingHead(net: try await CoreMLNet(bundle), bundle: bundle)
    ///
    /// Runs are made one after the other; for several at a time open several nets.
    public final class CoreMLNet: Net, @unchecked Sendable {
        private let model: MLModel  // used on `queue` alone
        private let manifest: Manifest
        private let queue = DispatchQueue(label: "edge-export.core-ml")

        /// Compiles (once for each artifact, see `cache`) and loads the artifact of a bundle.
        ///
        /// - Parameters:
        ///   - bundle: opened and checked.
        ///   - precision: `fp32` or `fp16`. The Neural Engine computes in half precision whatever the artifact says.
        ///   - computeUnits: where it may run; `.cpuOnly` gives the numbers nearest to the reference arrays.
        ///   - cache: folder for compiled models; by default the app's caches. A model is compiled again when the
        ///     artifact's hash is another.
        /// - Throws: `EdgeError` of kind `bundle`: no such artifact, or inputs and outputs of other names than the
        ///   manifest's; what Core ML refuses.
        public init(
            _ bundle: EdgeBundle, precision: String = "fp32", computeUnits: MLComputeUnits = .all,
            cache: URL? = nil
        ) async throws {
            let artifact = try bundle.manifest.artifact(target: "coreml", precision: precision)
            let package = try bundle.artifact(target: "coreml", precision: precision)
            guard artifact.io == "fp32" else {
                throw EdgeError(
                    .bundle, package.path, got: "half-precision inputs", expected: "float32 inputs",
                    cause: "for this class export the net without --io fp16")
            }
            let compiled = try await Self.compile(package, named: artifact.sha256, cache)
            let configuration = MLModelConfiguration()
            configuration.computeUnits = computeUnits
            model = try await MLModel.load(contentsOf: compiled, configuration: configuration)
            manifest = bundle.manifest
            try Self.check(model.modelDescription, manifest, package)
        }

        /// Runs the net once: input name → array, to output name → array.
        public func run(_ inputs: [String: NDArray<Float>]) async throws -> [String: NDArray<Float>] {
            try await withCheckedThrowingContinuation { continuation in
                queue.async {
                    continuation.resume(with: Result { try self.predict(inputs) })
                }
            }
        }

        private func predict(_ inputs: [String: NDArray<Float>]) throws -> [String: NDArray<Float>] {
            let known = model.modelDescription.inputDescriptionsByName
            var arrays: [String: MLFeatureValue] = [:]
            for (name, array) in inputs {
                let isWhole = known[name]?.multiArrayConstraint?.dataType == .int32
                arrays[name] = MLFeatureValue(
                    multiArray: try isWhole
                        ? Self.multiArray(array, .int32, name) { Int32(exactly: $0) }
                        : Self.multiArray(array, .float32, name) { $0 })
            }
            let answer = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: arrays))
            var outputs: [String: NDArray<Float>] = [:]
            for tensor in manifest.outputs {
                guard let array = answer.featureValue(for: tensor.name)?.multiArrayValue else {
                    throw EdgeError(
                        .backend, tensor.name, got: "no array", expected: "the output that the manifest lists"
                    )
                }
                outputs[tensor.name] = try Self.array(array)
            }
            return outputs
        }

        private static func compile(_ package: URL, named hash: String, _ cache: URL?) async throws -> URL {
            let folder =
                try cache
                ?? FileManager.default.url(
                    for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true
                )
                .appendingPathComponent("edge-export")
            let place = folder.appendingPathComponent("\(hash).mlmodelc")
            if FileManager.default.fileExists(atPath: place.path) { return place }
            let fresh = try await MLModel.compileModel(at: package)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            do {
                try FileManager.default.moveItem(at: fresh, to: place)
            } catch  where FileManager.default.fileExists(atPath: place.path) {
                // another net of the same artifact was quicker
            }
            return place
        }

        private static func check(_ description: MLModelDescription, _ manifest: Manifest, _ package: URL)
            throws
        {
            for (what, found, wanted) in [
                ("inputs", description.inputDescriptionsByName, manifest.inputs),
                ("outputs", description.outputDescriptionsByName, manifest.outputs),
            ] where Set(found.keys) != Set(wanted.map(\.name)) {
                throw EdgeError(
                    .bundle, "\(package.path): \(what)", got: found.keys.sorted().joined(separator: ", "),
                    expected: wanted.map(\.name).sorted().joined(separator: ", "))
            }
        }

        /// An array as Core ML takes it; rows of its own may be padded, so each value goes to its place. Token numbers
        /// come as floats, and go in as whole numbers where the model takes those.
        private static func multiArray<Number>(
            _ array: NDArray<Float>, _ type: MLMultiArrayDataType, _ name: String,
            _ convert: (Float) -> Number?
        ) throws -> MLMultiArray {
            let values = array.values.compactMap(convert)
            guard values.count == array.values.count else {
                throw EdgeError(.input, name, got: "fractions", expected: "whole numbers of 32 bits")
            }
            let result = try MLMultiArray(shape: array.shape.map { NSNumber(value: $0) }, dataType: type)
            result.withUnsafeMutableBytes { bytes, strides in
                let places = bytes.bindMemory(to: Number.self)
                for (value, place) in zip(values, StridedPlaces(shape: array.shape, strides: strides)) {
                    places[place] = value
                }
            }
            return result
        }

        private static func array(_ array: MLMultiArray) throws -> NDArray<Float> {
            let shape = array.shape.map(\.intValue)
            let places = StridedPlaces(shape: shape, strides: array.strides.map(\.intValue))
            let values: [Float]? = array.withUnsafeBytes { bytes in
                switch array.dataType {
                case .float32: places.map { bytes.load(fromByteOffset: 4 * $0, as: Float.self) }
                case .double: places.map { Float(bytes.load(fromByteOffset: 8 * $0, as: Double.self)) }
                case .float16:
                    places.map { float(halfBits: bytes.load(fromByteOffset: 2 * $0, as: UInt16.self)) }
                default: nil
                }
            }
            guard let values else {
                throw EdgeError(.backend, "Core ML", got: "integers", expected: "floats")
            }
            return try NDArray(shape: shape, values: values)
        }
    }
#endif
