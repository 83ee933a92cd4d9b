import Foundation

/// The bytes of a plain file, or a refusal that names what is there instead.
func readFile(_ url: URL, expected: String) throws -> [UInt8] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
        throw EdgeError(.input, "file", got: "no such file", expected: expected)
    }
    guard !isFolder.boolValue, let data = try? Data(contentsOf: url) else {
        throw EdgeError(
            .input, "file", got: isFolder.boolValue ? "a folder" : "an unreadable file", expected: expected)
    }
    return Array(data)
}

/// Writes a file, whole or not at all.
func writeFile(_ bytes: [UInt8], to url: URL) throws {
    do {
        try Data(bytes).write(to: url, options: .atomic)
    } catch {
        throw EdgeError(
            .target, url.path, got: "«\(error.localizedDescription)»", expected: "a place that can be written"
        )
    }
}

/// Relative paths of all files below a folder, sorted by their bytes; what file managers leave is none.
func filesBelow(_ folder: URL) -> [String] {
    guard let names = FileManager.default.enumerator(atPath: folder.path) else { return [] }
    var found: [String] = []
    for case let name as String in names {
        var isFolder: ObjCBool = false
        let path = folder.appendingPathComponent(name).path
        let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        if exists && !isFolder.boolValue && !name.hasSuffix(".DS_Store") { found.append(name) }
    }
    return found.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
}

/// SHA-256 of a file, or of a folder's sorted files: that of what sha256sum prints for them.
func sha256(of url: URL) throws -> String {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder), isFolder.boolValue else {
        return SHA256.hash(try readFile(url, expected: "a file that can be read"))
    }
    var tree = SHA256()
    for name in filesBelow(url) {
        tree.update("\(try sha256(of: url.appendingPathComponent(name)))  \(name)\n".utf8)
    }
    return tree.finish()
}
