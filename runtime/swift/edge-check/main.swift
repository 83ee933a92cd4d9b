// edge-check PACK [--tolerance X]
// Recomputes every stage of a reference pack and compares. Exit 0: all within the tolerance; 1: a stage is
// off; 2: no pack, or wrong use.

import EdgeRuntime
import Foundation

func complain(_ sentence: String) -> Never {
    FileHandle.standardError.write(Data("\(sentence)\n".utf8))
    exit(2)
}

var arguments = Array(CommandLine.arguments.dropFirst())
var tolerance = 1e-3
if let place = arguments.firstIndex(of: "--tolerance") {
    guard place + 1 < arguments.count, let number = Double(arguments[place + 1]) else {
        complain("--tolerance: got no number, expected the largest absolute difference that passes")
    }
    tolerance = number
    arguments.removeSubrange(place...place + 1)
}
guard arguments.count == 1, let path = arguments.first, !path.hasPrefix("-") else {
    complain("edge-check PACK [--tolerance X]: recomputes a pack of `edge-export reference` and compares")
}
do {
    let check = try await PackCheck(URL(fileURLWithPath: path), tolerance: tolerance)
    print(check.table)
    let off = check.stages.filter { $0.status == .fail }
    print(
        check.passed
            ? "every stage within \(tolerance)" : "\(off.count) of \(check.stages.count) stages are off")
    exit(check.passed ? 0 : 1)
} catch {
    complain("\(error)")
}
