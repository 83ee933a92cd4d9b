// swift-tools-version: 6.0
// SwiftPM takes a package by its repository's root; sources and tests lie in runtime/swift.
import Foundation
import PackageDescription

let package = Package(
    name: "edge-export",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "EdgeRuntime", targets: ["EdgeRuntime"]),
        .library(name: "EdgeCoreML", targets: ["EdgeCoreML"]),
        .executable(name: "edge-check", targets: ["edge-check"]),
    ],
    targets: [
        .target(name: "EdgeRuntime", path: "runtime/swift/EdgeRuntime"),
        // apart, so that the signal processing and edge-check need no Apple library
        .target(name: "EdgeCoreML", dependencies: ["EdgeRuntime"], path: "runtime/swift/EdgeCoreML"),
        .executableTarget(
            name: "edge-check", dependencies: ["EdgeRuntime", "EdgeCoreML"], path: "runtime/swift/edge-check"),
        // the example app's part that needs no phone
        .target(name: "LiveSpeech", dependencies: ["EdgeRuntime"], path: "docs/ios/LiveSpeech"),
        .testTarget(
            name: "EdgeRuntimeTests", dependencies: ["EdgeRuntime", "LiveSpeech"], path: "runtime/swift/Tests"
        ),
    ]
)

// what `make test-swift` has `edge-export … --swift` write, and compiles and runs
let generated = "runtime/swift/Generated"
if FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/\(generated)") {
    package.targets.append(
        .testTarget(
            name: "GeneratedTests", dependencies: ["EdgeRuntime"], path: generated,
            exclude: ["pack.schema.json"],
            resources: [.copy("Pack")]))
}
