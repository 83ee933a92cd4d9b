import Foundation

/// What manifest.json of a bundle says; the format `edge-bundle/1`.
public struct Manifest: Sendable {
    /// The format that is read.
    public static let format = "edge-bundle/1"

    /// One input or output of a net.
    public struct Tensor: Sendable, Equatable {
        /// It names files too.
        public let name: String
        /// numpy's name of the type, as `float32`.
        public let dtype: String
        /// An axis of any length has a name, as `frames`.
        public let shape: [Axis]
        /// What it is.
        public let meaning: String
        /// In which unit.
        public let unit: String
    }

    /// An axis of a tensor.
    public enum Axis: Sendable, Equatable, CustomStringConvertible {
        /// Always of this length.
        case fixed(Int)
        /// Of any length that the artifact takes, the same wherever the name stands.
        case named(String)

        /// The length, or the name.
        public var description: String {
            switch self {
            case .fixed(let length): "\(length)"
            case .named(let name): name
            }
        }
    }

    /// Which lengths an artifact takes on a named axis.
    public struct Lengths: Sendable, Equatable {
        /// The shortest.
        public var low = 1
        /// The longest; nil where there is no limit.
        public var high: Int?
        /// Ascending; empty where none between is left out.
        public var only: [Int] = []
        /// Lengths are multiples of it.
        public var step = 1

        /// Every length from low to high, or some only.
        public init(low: Int = 1, high: Int? = nil, only: [Int] = [], step: Int = 1) {
            (self.low, self.high, self.only, self.step) = (low, high, only, step)
        }
    }

    /// A file beside an artifact that it refers to by name: weights that do not fit into an ONNX file.
    public struct DataFile: Sendable, Equatable {
        /// Its name in the bundle, as `model.onnx.data`.
        public let path: String
        /// Its hash.
        public let sha256: String
        /// Its size.
        public let bytes: Int
    }

    /// The net in one target's format and one precision.
    public struct Artifact: Sendable {
        /// Its name in the bundle.
        public let path: String
        /// `onnx` or `coreml`.
        public let target: String
        /// `fp32` or `fp16`.
        public let precision: String
        /// Of the file, or of the sorted tree of a folder.
        public let sha256: String
        /// Size of the file, or of all files in the folder.
        public let bytes: Int
        /// As `opset 17, IR 8` or `iOS16, specification 7`.
        public let version: String
        /// By the names of axes in the shapes of inputs.
        public let axes: [String: Lengths]
        /// What else a user should know.
        public let note: String
        /// Files that it refers to.
        public let data: [DataFile]
        /// `cpu` or `plain` where the net has two forms of equal numbers; `any` where it has one.
        public let form: String
        /// `fp16` where floats go in and out in half precision, else `fp32`.
        public let io: String
        /// Target, precision and form, as in sentences.
        var kind: String { ([target, precision] + (form == "any" ? [] : [form])).joined(separator: " ") }

        /// All names in the bundle that belong to it, its own first.
        public var paths: [String] { [path] + data.map(\.path) }
    }

    /// What a backend's outputs must keep, against the reference arrays.
    public struct Tolerance: Sendable, Equatable {
        /// Largest absolute difference, in the output's unit.
        public let maxAbs: Double
        /// dB.
        public let minSNR: Double
    }

    /// How the net's time axes hang together; nil where it has none.
    public struct Geometry: Sendable, Equatable {
        /// Samples a frame.
        public let hopLength: Int?
        /// Input frames that one output frame sees.
        public let receptiveField: Int?
        /// Input frames to each side that a chunk needs.
        public let contextFrames: Int?
        /// Frames before a frame that its output depends on, where the sides are told apart.
        public var contextBefore: Int?
        /// Frames after it.
        public var contextAfter: Int?

        /// Frames of context before and after; nil where the net has none to tell.
        public var sides: Context? {
            if let contextBefore, let contextAfter {
                return Context(before: contextBefore, after: contextAfter)
            }
            return contextFrames.map { Context($0) }
        }
    }

    /// Where the weights came from.
    public struct Source: Sendable, Equatable {
        /// Name of the file.
        public let file: String
        /// Its hash.
        public let sha256: String
        /// As recognised.
        public let format: String
    }

    /// Name in the catalog.
    public let net: String
    /// The net's configuration.
    public let config: [String: JSON]
    /// How audio becomes the net's mel.
    public let frontEnd: MelConfig?
    /// In the order that the net takes them.
    public let inputs: [Tensor]
    /// In the order that the net gives them.
    public let outputs: [Tensor]
    /// The formats that the bundle holds.
    public let artifacts: [Artifact]
    /// Where the weights came from.
    public let source: Source
    /// By precision.
    public let tolerance: [String: Tolerance]
    /// How the net's time axes hang together.
    public let geometry: Geometry
    /// Library → version that wrote the bundle.
    public let versions: [String: String]
    /// Case → file → its SHA-256.
    public let reference: [String: [String: String]]
    /// Others of the net's own, which no artifact refers to.
    public let files: [DataFile]

    /// The artifact of a target and a precision; of two forms the one for processors.
    ///
    /// - Throws: `EdgeError` of kind `bundle`: the bundle holds none; the sentence lists what it holds.
    public func artifact(target: String, precision: String = "fp32") throws -> Artifact {
        let fitting = artifacts.filter { $0.target == target && $0.precision == precision }
        guard let found = fitting.first(where: { $0.form != "plain" }) ?? fitting.first else {
            throw EdgeError(
                .bundle, "artifacts", got: listed(artifacts.map(\.kind)),
                expected: "\(target) \(precision)",
                cause: "export the net again with this target and precision")
        }
        return found
    }
}

// MARK: reading

extension Manifest {
    /// Reads the bytes of manifest.json; its own hash must be right.
    ///
    /// - Throws: `EdgeError` of kind `bundle`: another format, damaged, edited; names the entry.
    public init(parsing bytes: [UInt8]) throws {
        let entries: JSON
        do {
            entries = try JSON(parsing: bytes)
        } catch let error as EdgeError {
            let whole = bytes.suffix(3).elementsEqual("\n}\n".utf8)
            throw EdgeError(
                .bundle, "manifest", got: "«\(error.got)»", expected: "JSON",
                cause: whole ? "the file is damaged" : "the file is truncated")
        }
        try Self.checkFormat(entries)
        guard let stated = entries["sha256"]?.string, Self.selfHash(bytes, stated) == stated else {
            throw EdgeError(
                .bundle, "manifest", got: "contents that differ from their own hash",
                expected: "the file as it was written", cause: "the file is damaged, or was edited")
        }
        var object = entries.object ?? [:]
        object["format"] = nil
        object["sha256"] = nil
        try self.init(record: Record("the manifest", object))
    }

    /// SHA-256 of the file without the line that holds it: the file is canonical, so the line is known.
    private static func selfHash(_ bytes: [UInt8], _ stated: String) -> String? {
        let line = Array("\n  \"sha256\": \"\(stated)\",".utf8)
        guard let place = bytes.firstRange(of: line) else { return nil }
        return SHA256.hash(bytes[..<place.lowerBound] + bytes[place.upperBound...])
    }

    private static func checkFormat(_ entries: JSON) throws {
        let found = entries["format"]?.string
        if found == format { return }
        let other = found?.hasPrefix("edge-bundle/") ?? false
        throw EdgeError(
            .bundle, "manifest", got: found.map { "format \($0)" } ?? "no format",
            expected: "\(format), which is what this version reads",
            cause: other
                ? "another version of edge-export wrote it: update this one, or export the net again"
                : "is this a bundle's folder?")
    }

    private init(record: Record) throws {
        try record.mustHave([
            "net", "config", "front_end", "inputs", "outputs", "artifacts", "source", "tolerance", "geometry",
            "versions", "reference",
        ])
        net = try record.string("net")
        config = try record.object("config").entries
        frontEnd =
            try record.isNull("front_end")
            ? nil
            : naming("front_end", as: .bundle) {
                try MelConfig(json: .object(record.object("front_end").entries))
            }
        inputs = try record.list("inputs").map(Tensor.init)
        outputs = try record.list("outputs").map(Tensor.init)
        artifacts = try record.list("artifacts").map(Artifact.init)
        let source = try record.object("source")
        try source.mustHave(["file", "sha256", "format"])
        self.source = Source(
            file: try source.string("file"), sha256: try source.string("sha256"),
            format: try source.string("format"))
        tolerance = try record.object("tolerance").records().mapValues {
            try $0.mustHave(["max_abs", "min_snr_db"])
            return Tolerance(maxAbs: try $0.number("max_abs"), minSNR: try $0.number("min_snr_db"))
        }
        let geometry = try record.object("geometry")
        try geometry.mustHave(["hop_length", "receptive_field", "context_frames"])
        self.geometry = Geometry(
            hopLength: try geometry.count("hop_length", atLeast: 1),
            receptiveField: try geometry.count("receptive_field", atLeast: 1),
            contextFrames: try geometry.count("context_frames", atLeast: 0),
            contextBefore: try geometry.count("context_before", atLeast: 0),
            contextAfter: try geometry.count("context_after", atLeast: 0))
        guard (self.geometry.contextBefore == nil) == (self.geometry.contextAfter == nil) else {
            throw geometry.unfit("context_before", "both context_before and context_after, or neither")
        }
        versions = try record.object("versions").strings()
        reference = try record.object("reference").records().mapValues { try $0.strings() }
        files = try record.entries["files"] == nil ? [] : record.list("files").map(Manifest.DataFile.init)
        try check()
    }

    private func check() throws {
        let names = (inputs + outputs).map(\.name)
        for (what, names) in [
            ("inputs and outputs", names), ("artifacts", artifacts.map(\.kind)),
            ("artifacts", artifacts.flatMap(\.paths) + files.map(\.path)),
        ] where Set(names).count != names.count {
            let twice = Set(names.filter { name in names.count { $0 == name } > 1 })
            throw EdgeError(.bundle, what, got: "\(listed(twice)) twice", expected: "each once")
        }
        for name in names + reference.keys where !isFileName(name) {
            throw EdgeError(
                .bundle, "name", got: "'\(name)'", expected: "a name of letters, digits and _ . -")
        }
        for path in artifacts.flatMap(\.paths) where !path.hasPrefix("model") || !isFileName(path) {
            throw EdgeError(
                .bundle, "path", got: "'\(path)'", expected: "a name in the bundle, such as model.fp16.onnx")
        }
        for path in files.map(\.path) where !isCarried(path) {
            throw EdgeError(
                .bundle, "path", got: "'\(path)'",
                expected: "a name in the bundle, such as tokenizer/vocab.json")
        }
        for item in artifacts where tolerance[item.precision] == nil {
            throw EdgeError(
                .bundle, "tolerance", got: "none for \(item.precision)", expected: "one per precision")
        }
        for (name, files) in reference where Set(files.keys) != Set(names.map { "\($0).npy" }) {
            throw EdgeError(
                .bundle, "reference/\(name)", got: listed(files.keys),
                expected: listed(names.map { "\($0).npy" }))
        }
    }
}

private func isFileName(_ name: String) -> Bool {
    let letters = name.utf8.allSatisfy { byte in
        UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
            || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || "_.-".utf8.contains(byte)
    }
    return letters && !name.isEmpty && !name.hasPrefix(".") && !name.hasPrefix("-")
}

/// Whether a path is that of a file that goes with a net.
private func isCarried(_ path: String) -> Bool {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    return parts.count == 2
        ? parts[0] == "tokenizer" && isFileName(parts[1]) : path.hasPrefix("model") && isFileName(path)
}

extension Manifest.Tensor {
    fileprivate init(_ record: Record) throws {
        try record.mustHave(["name", "dtype", "shape", "meaning", "unit"])
        name = try record.string("name")
        dtype = try record.string("dtype")
        shape = try record.items("shape").map { item in
            if let length = item.int, 1...(1 << 40) ~= length { return .fixed(length) }
            if let name = item.string, !name.isEmpty { return .named(name) }
            throw record.unfit("shape", "sizes of at least 1, or names of axes")
        }
        meaning = try record.string("meaning")
        unit = try record.string("unit")
    }
}

extension Manifest.Artifact {
    fileprivate init(_ record: Record) throws {
        try record.mustHave(
            ["path", "target", "precision", "sha256", "bytes", "version", "axes"])
        path = try record.string("path")
        target = try record.string("target")
        precision = try record.string("precision")
        guard ["onnx", "coreml"].contains(target) else { throw record.unfit("target", "onnx or coreml") }
        guard ["fp32", "fp16"].contains(precision) else { throw record.unfit("precision", "fp32 or fp16") }
        sha256 = try record.string("sha256")
        bytes = try record.count("bytes", atLeast: 0) ?? 0
        version = try record.string("version")
        axes = try record.object("axes").records().mapValues(Manifest.Lengths.init)
        note = try record.entries["note"] == nil ? "" : record.string("note")
        data = try record.entries["data"] == nil ? [] : record.list("data").map(Manifest.DataFile.init)
        io = try record.entries["io"] == nil ? "fp32" : record.string("io")
        form = try record.entries["form"] == nil ? "any" : record.string("form")
        guard ["cpu", "plain", "any"].contains(form) else {
            throw record.unfit("form", "cpu, plain or any")
        }
    }
}

extension Manifest.DataFile {
    fileprivate init(_ record: Record) throws {
        try record.mustHave(["path", "sha256", "bytes"])
        path = try record.string("path")
        sha256 = try record.string("sha256")
        bytes = try record.count("bytes", atLeast: 0) ?? 0
    }
}

extension Manifest.Lengths {
    fileprivate init(_ record: Record) throws {
        low = try record.count("low", atLeast: 1) ?? 1
        high = try record.count("high", atLeast: 1)
        only = try (record.entries["only"] == nil ? [] : record.items("only")).map { item in
            guard let length = item.int, length >= 1 else {
                throw record.unfit("only", "whole numbers, at least 1")
            }
            return length
        }
        step = try record.count("step", atLeast: 1) ?? 1
        guard step <= low, ([low] + (high.map { [$0] } ?? []) + only).allSatisfy({ $0 % step == 0 }) else {
            throw record.unfit("step", "a number that divides all lengths")
        }
        let ascending = zip(only, only.dropFirst()).allSatisfy { $0 < $1 }
        guard low <= high ?? low, ascending, only.isEmpty || (only.first == low && only.last == high) else {
            throw record.unfit("only", "\(low) … \(high.map { "\($0)" } ?? "any"), ascending")
        }
    }
}

/// An object of the manifest on its way to a structure; refusals carry its place.
private struct Record {
    let place: String
    let entries: [String: JSON]

    init(_ place: String, _ entries: [String: JSON]) { (self.place, self.entries) = (place, entries) }

    /// Entries of other names are those of a newer writer: the manifest's hash has shown that they belong there.
    func mustHave(_ names: Set<String>) throws {
        let missing = names.subtracting(entries.keys)
        guard missing.isEmpty else {
            throw EdgeError(
                .bundle, place, got: "no \(listed(missing))", expected: "the entries \(listed(names))")
        }
    }

    func isNull(_ name: String) -> Bool { entries[name] == .null }

    func string(_ name: String) throws -> String {
        guard let text = entries[name]?.string else { throw unfit(name, "a text") }
        return text
    }

    func number(_ name: String) throws -> Double {
        guard let number = entries[name]?.double else { throw unfit(name, "a number") }
        return number
    }

    /// A whole number; nil where the entry is null or missing.
    func count(_ name: String, atLeast least: Int) throws -> Int? {
        if isNull(name) || entries[name] == nil { return nil }
        guard let number = entries[name]?.int, number >= least, number < 1 << 40 else {
            throw unfit(name, "a whole number of at least \(least)")
        }
        return number
    }

    func items(_ name: String) throws -> [JSON] {
        guard let items = entries[name]?.array else { throw unfit(name, "a list") }
        return items
    }

    func object(_ name: String) throws -> Record {
        guard let object = entries[name]?.object else { throw unfit(name, "an object") }
        return Record(name, object)
    }

    func list(_ name: String) throws -> [Record] {
        try items(name).enumerated().map { index, item in
            guard let object = item.object else { throw unfit(name, "objects") }
            return Record("\(name)[\(index)]", object)
        }
    }

    func records() throws -> [String: Record] {
        try entries.reduce(into: [:]) { result, entry in
            guard let object = entry.value.object else { throw unfit(entry.key, "an object") }
            result[entry.key] = Record("\(place).\(entry.key)", object)
        }
    }

    func strings() throws -> [String: String] {
        try entries.reduce(into: [:]) { result, entry in
            guard let text = entry.value.string else { throw unfit(entry.key, "a text") }
            result[entry.key] = text
        }
    }

    func unfit(_ name: String, _ expected: String) -> EdgeError {
        let got = String((entries[name]?.text ?? "nothing").prefix(60))
        return EdgeError(.bundle, "\(place).\(name)", got: got, expected: expected)
    }
}
