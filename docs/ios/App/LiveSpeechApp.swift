// Not compiled by this project's tests and not run on a device by its authors: it needs Xcode. What it calls of
// EdgeRuntime and LiveSpeech is compiled and tested on Linux.
//
// Xcode: File › New › Project › iOS App; add this repository as a package with the products EdgeRuntime and
// EdgeCoreML; add docs/ios/LiveSpeech and this file; drag the folder of a bundle of audio-encoder into the project as a
// folder reference named "audio-encoder"; NSMicrophoneUsageDescription in Info.plist.

import AVFoundation
import EdgeCoreML
import EdgeRuntime
import SwiftUI

@main
struct LiveSpeechApp: App {
    var body: some Scene {
        WindowGroup { FeatureView() }
    }
}

struct FeatureView: View {
    @StateObject private var microphone = Microphone()

    var body: some View {
        VStack(spacing: 16) {
            Text(microphone.status).font(.headline)
            HStack(alignment: .bottom, spacing: 1) {
                ForEach(Array(microphone.features.enumerated()), id: \.offset) { _, value in
                    Rectangle().frame(height: CGFloat(min(max(value, 0), 10)) * 16)
                }
            }
            .frame(height: 160)
            Button(microphone.isRunning ? "Stop" : "Start") {
                Task { await microphone.toggle() }
            }
        }
        .padding()
    }
}

@MainActor
final class Microphone: ObservableObject {
    @Published var status = "talking-head features from the microphone"
    @Published var features: [Float] = []
    @Published var isRunning = false
    private let engine = AVAudioEngine()

    func toggle() async {
        if isRunning {
            engine.inputNode.removeTap(onBus: 0)
            engine.stop()
            isRunning = false
            return
        }
        do {
            try await start()
            isRunning = true
        } catch {
            status = "\(error)"
        }
    }

    private func start() async throws {
        guard let url = Foundation.Bundle.main.url(forResource: "audio-encoder", withExtension: nil) else {
            status = "no folder audio-encoder in the app"
            return
        }
        let bundle = try EdgeBundle(contentsOf: url)
        let net = try BoundNet(
            await CoreMLNet(bundle), of: bundle, named: "audio-encoder", target: "coreml")
        let live = try LiveFeatures(net: net)
        try AVAudioSession.sharedInstance().setCategory(.playAndRecord, mode: .measurement)
        try AVAudioSession.sharedInstance().setActive(true)
        // pieces in order, whatever the threads: the tap only hands them over
        let (pieces, sink) = AsyncStream.makeStream(of: [Float].self)
        try listen(to: sink)
        Task { [weak self] in
            do {
                for await samples in pieces {
                    if let row = try await live.push(samples).last { self?.features = Array(row.prefix(64)) }
                }
            } catch {
                self?.status = "\(error)"
            }
        }
    }

    /// Taps the microphone at 16 kHz, one channel.
    private func listen(to sink: AsyncStream<[Float]>.Continuation) throws {
        let input = engine.inputNode
        let source = input.outputFormat(forBus: 0)
        guard
            let wanted = AVAudioFormat(
                commonFormat: .pcmFormatFloat32, sampleRate: 16000, channels: 1, interleaved: false),
            let converter = AVAudioConverter(from: source, to: wanted)
        else {
            status = "the microphone gives no floats"
            return
        }
        input.installTap(onBus: 0, bufferSize: 4096, format: source) { buffer, _ in
            let room = AVAudioFrameCount(Double(buffer.frameLength) * 16000 / source.sampleRate) + 16
            guard let output = AVAudioPCMBuffer(pcmFormat: wanted, frameCapacity: room) else { return }
            var given = false
            converter.convert(to: output, error: nil) { _, state in
                state.pointee = given ? .noDataNow : .haveData
                defer { given = true }
                return given ? nil : buffer
            }
            guard let channel = output.floatChannelData?[0] else { return }
            sink.yield(Array(UnsafeBufferPointer(start: channel, count: Int(output.frameLength))))
        }
        try engine.start()
    }
}
