import Foundation

/// A bundle that was opened and checked: manifest, artifacts and the PyTorch net's reference arrays.
///
/// One flipped byte anywhere is refused, and the file that holds it is named. The hashes tell damage from
/// health; they are no signature against an attacker.
public struct EdgeBundle: Sendable {
    /// The folder.
    public let url: URL
    /// What manifest.json says.
    public let manifest: Manifest

    /// Opens a bundle and checks it.
    ///
    /// - Parameters:
    ///   - url: its folder.
    ///   - verify: read every file: hashes, and the shapes of the reference arrays. Without it only the
    ///     manifest is checked, and that the files are there in the right sizes.
    /// - Throws: `EdgeError` of kind `bundle`: not a bundle, of another format, incomplete, or damaged.
    public init(contentsOf url: URL, verify: Bool = true) throws {
        let manifestURL = url.appendingPathComponent("manifest.json")
        guard FileManager.default.fileExists(atPath: manifestURL.path) else {
            throw EdgeError(
                .bundle, manifestURL.path, got: "no such file", expected: "the manifest of a bundle",
                cause: "is this a bundle's folder?")
        }
        self.url = url
        manifest = try naming(manifestURL.path, as: .bundle) {
            try Manifest(parsing: try readFile(manifestURL, expected: "the manifest of a bundle"))
        }
        try checkFiles()
        for item in manifest.artifacts {
            try check(item.path, item.bytes, item.sha256, verify)
            for file in item.data { try check(file.path, file.bytes, file.sha256, verify) }
        }
        for file in manifest.files { try check(file.path, file.bytes, file.sha256, verify) }
        if verify {
            for name in cases { try check(case: name) }
        }
    }

    /// Where the artifact of a target and a precision lies.
    ///
    /// - Throws: `EdgeError` of kind `bundle` if there is none.
    public func artifact(target: String, precision: String = "fp32") throws -> URL {
        let found = try naming(url.path) { try manifest.artifact(target: target, precision: precision) }
        return url.appendingPathComponent(found.path)
    }

    /// Names of the reference cases, sorted.
    public var cases: [String] { manifest.reference.keys.sorted() }

    /// The PyTorch net's inputs and outputs of a case, by tensor name; their hashes are checked.
    ///
    /// - Throws: `EdgeError` of kind `bundle`: no such case, or a file that is damaged.
    public func reference(_ name: String) throws -> [String: NDArray<Double>] {
        guard let hashes = manifest.reference[name] else {
            throw EdgeError(
                .bundle, "\(url.path): reference", got: "no case \(name)", expected: "one of \(listed(cases))"
            )
        }
        return try hashes.reduce(into: [:]) { arrays, entry in
            let file = url.appendingPathComponent("reference/\(name)/\(entry.key)")
            try checkHash(file, entry.value)
            let array = try naming("reference", as: .bundle) { try NpyArray(contentsOf: file).float64() }
            arrays[String(entry.key.dropLast(4))] = array
        }
    }

    /// Every file that the manifest lists is there, and no other.
    private func checkFiles() throws {
        let references = manifest.reference.flatMap { name, files in
            files.keys.map { "reference/\(name)/\($0)" }
        }
        let artifacts = manifest.artifacts.flatMap(\.paths) + manifest.files.map(\.path)
        for name in artifacts + references.sorted() {
            let place = url.appendingPathComponent(name).path
            guard FileManager.default.fileExists(atPath: place) else {
                throw EdgeError(
                    .bundle, place, got: "no such file", expected: "a file that the manifest lists",
                    cause: "the bundle was copied or downloaded only in part")
            }
        }
        let single = Set(["manifest.json"] + artifacts + references)
        for name in filesBelow(url) where !single.contains(name) {
            guard artifacts.contains(where: { name.hasPrefix("\($0)/") }) else {
                throw EdgeError(
                    .bundle, url.appendingPathComponent(name).path,
                    got: "a file that the manifest does not list",
                    expected: "only the bundle's own files", cause: "move it elsewhere")
            }
        }
    }

    private func check(_ path: String, _ bytes: Int, _ sha256: String, _ verify: Bool) throws {
        let place = url.appendingPathComponent(path)
        let size = sizeOnDisk(place)
        guard size == bytes else {
            throw EdgeError(
                .bundle, place.path, got: "\(size) bytes", expected: "\(bytes) bytes",
                cause: size < bytes ? "it was copied or downloaded only in part" : "it was replaced")
        }
        if verify { try checkHash(place, sha256) }
    }

    private func check(case name: String) throws {
        let arrays = try reference(name)
        var lengths: [String: Int] = [:]
        for tensor in manifest.inputs + manifest.outputs {
            let shape = arrays[tensor.name]?.shape ?? []
            try naming("\(url.path): reference/\(name)", as: .bundle) {
                try tensor.check(shape, lengths: &lengths)
            }
        }
    }

    private func checkHash(_ file: URL, _ expected: String) throws {
        let got = try naming(file.path, as: .bundle) { try sha256(of: file) }
        guard got == expected else {
            throw EdgeError(
                .bundle, file.path, got: "SHA-256 \(got.prefix(12))…", expected: "\(expected.prefix(12))…",
                cause: "it is damaged, or was replaced")
        }
    }
}

extension Manifest.Tensor {
    /// Checks a shape, before a net meets it; an axis name means the same length everywhere.
    ///
    /// - Throws: `EdgeError` of kind `input`: names the array, what it is and what the net takes.
    public func check(_ shape: [Int], lengths: inout [String: Int]) throws {
        let wanted = "(\(self.shape.map(\.description).joined(separator: ", ")))"
        guard shape.count == self.shape.count else {
            throw EdgeError(
                .input, name, got: "shape \(described(shape)), \(shape.count) axes",
                expected: "\(wanted), \(self.shape.count) axes",
                cause: shape.count == self.shape.count - 1 ? "is the batch axis missing?" : "")
        }
        for (index, (axis, length)) in zip(self.shape, shape).enumerated() {
            switch axis {
            case .fixed(let fixed) where fixed != length:
                throw EdgeError(
                    .input, name, got: "shape \(described(shape))",
                    expected: "\(wanted), \(fixed) on axis \(index)",
                    cause: shape.contains(fixed) ? "are two axes swapped?" : "")
            case .named(let axisName):
                guard length == lengths[axisName, default: length] else {
                    throw EdgeError(
                        .input, name, got: "\(length) \(axisName) (axis \(index))",
                        expected: "\(lengths[axisName] ?? 0) \(axisName), as many as another has")
                }
                lengths[axisName] = length
            default: break
            }
            guard length >= 1 else {
                throw EdgeError(
                    .input, name, got: "shape \(described(shape))", expected: "\(wanted), no axis empty")
            }
        }
    }
}

private func sizeOnDisk(_ url: URL) -> Int {
    func size(_ file: URL) -> Int {
        let attributes = try? FileManager.default.attributesOfItem(atPath: file.path)
        return (attributes?[.size] as? NSNumber)?.intValue ?? 0
    }
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder), isFolder.boolValue else {
        return size(url)
    }
    return filesBelow(url).reduce(0) { $0 + size(url.appendingPathComponent($1)) }
}
