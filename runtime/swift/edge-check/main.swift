// edge-check PACK [--tolerance X] [--bundle DIR …]
// Recomputes every stage of a reference pack and compares; with bundles, on Apple's systems, their nets too, by Core ML
// on the processor. Exit 0: all within the tolerance; 1: a stage is off; 2: no pack, or wrong use.

import EdgeCoreML
import EdgeRuntime
import Foundation

func complain(_ sentence: String) -> Never {
    FileHandle.standardError.write(Data("\(sentence)\n".utf8))
    exit(2)
}

#if canImport(CoreML)
    /// The net of a bundle, run by Core ML.
    func openNet(_ path: String) async throws -> PackNet {
        let bundle = try EdgeBundle(contentsOf: URL(fileURLWithPath: path))
        return PackNet(try await CoreMLNet(bundle, computeUnits: .cpuOnly), of: bundle)
    }
#else
    /// Refuses the bundle: only Apple's systems run it.
    func openNet(_ path: String) async throws -> PackNet {
        throw EdgeError(
            .backend, "--bundle", got: "no Core ML on this system", expected: "macOS",
            cause: "leave the option out, or run `edge-export verify \(path)`, which executes it elsewhere")
    }
#endif

var arguments = Array(CommandLine.arguments.dropFirst())
var tolerance = 1e-3
if let place = arguments.firstIndex(of: "--tolerance") {
    guard place + 1 < arguments.count, let number = Double(arguments[place + 1]) else {
        complain("--tolerance: got no number, expected the largest absolute difference that passes")
    }
    tolerance = number
    arguments.removeSubrange(place...place + 1)
}
var bundles: [String] = []
while let place = arguments.firstIndex(of: "--bundle") {
    guard place + 1 < arguments.count else { complain("--bundle: got no folder, expected that of a bundle") }
    bundles.append(arguments[place + 1])
    arguments.removeSubrange(place...place + 1)
}
guard arguments.count == 1, let path = arguments.first, !path.hasPrefix("-") else {
    complain(
        "edge-check PACK [--tolerance X] [--bundle DIR …]: recomputes a pack of `edge-export reference` and compares"
    )
}
do {
    var nets: [PackNet] = []
    for bundle in bundles { nets.append(try await openNet(bundle)) }
    let check = try await PackCheck(URL(fileURLWithPath: path), tolerance: tolerance, nets: nets)
    print(check.table)
    let off = check.stages.filter { $0.status == .fail }
    print(
        check.passed
            ? "every stage within \(tolerance)" : "\(off.count) of \(check.stages.count) stages are off")
    exit(check.passed ? 0 : 1)
} catch {
    complain("\(error)")
}
