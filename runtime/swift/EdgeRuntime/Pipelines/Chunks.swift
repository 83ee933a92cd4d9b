/// Frames that an output frame depends on beside its own.
public struct Context: Sendable, Equatable {
    /// Before it.
    public let before: Int
    /// After it.
    public let after: Int

    /// The same number on both sides.
    public init(_ frames: Int) { self.init(before: frames, after: frames) }

    /// Another number on each side.
    public init(before: Int, after: Int) { (self.before, self.after) = (before, after) }

    /// Of both sides together.
    var around: Int { before + after }

    var text: String { before == after ? "\(before) on each side" : "\(before) before and \(after) after" }
}

/// One run of a net over frames `start` … `stop` − 1, of which `first` … `last` − 1 are kept.
public struct Chunk: Sendable, Equatable {
    /// First frame that the net sees.
    public let start: Int
    /// One past the last frame that the net sees.
    public let stop: Int
    /// First frame that is kept.
    public let first: Int
    /// One past the last frame that is kept.
    public let last: Int

    /// The frames kept, counted from the run's own first frame.
    var inside: Range<Int> { first - start..<last - start }
}

/// Runs of the admitted sizes that give every frame once, each with its context.
///
/// - Parameters:
///   - frames: of the mel, at least 1.
///   - context: frames that an output frame depends on.
///   - sizes: ascending numbers of frames that the net takes.
/// - Throws: `EdgeError` of kind `config`: the longest usable size leaves nothing between its two contexts.
public func planChunks(frames: Int, context: Context, sizes: [Int]) throws -> [Chunk] {
    let usable = sizes.prefix { $0 <= frames }
    let longest = usable.last ?? 0
    if let enough = sizes.first(where: { $0 >= frames }), enough == frames || longest <= context.around {
        // the caller fills up what the mel lacks
        return [Chunk(start: 0, stop: enough, first: 0, last: frames)]
    }
    guard longest > context.around else {
        throw EdgeError(
            .config, "frames per run", got: "\(longest)",
            expected: "more than \(context.around) (the context is \(context.text))",
            cause: "export the net with a longer frame bucket")
    }
    var (chunks, done) = ([Chunk](), 0)
    while done < frames {
        let start = max(done - context.before, 0)
        if let enough = usable.first(where: { $0 >= frames - start }) {
            chunks.append(Chunk(start: frames - enough, stop: frames, first: done, last: frames))
            return chunks
        }
        let stop = start + longest
        chunks.append(Chunk(start: start, stop: stop, first: done, last: stop - context.after))
        done = stop - context.after
    }
    return chunks
}

/// The runs of a net over the frames of a recording.
struct ChunkPlan: Sendable {
    let context: Context?
    let admitted: Manifest.Lengths
    let sizes: [Int]

    /// - Parameters:
    ///   - admitted: lengths that the artifact takes.
    ///   - context: frames beside a frame; nil where a frame depends on the whole recording.
    ///   - chunkFrames: most frames per run, where the artifact takes any number.
    init(admitted: Manifest.Lengths, context: Context?, chunkFrames: Int) throws {
        (self.admitted, self.context) = (admitted, context)
        let longest = min(chunkFrames, admitted.high ?? chunkFrames)
        let multiples = stride(from: admitted.low, through: longest, by: admitted.step)
        sizes = admitted.only.isEmpty ? Array(multiples) : admitted.only
        if let context, admitted.only.isEmpty, longest <= context.around {
            throw EdgeError(
                .config, "chunk_frames", got: "\(chunkFrames)",
                expected: "more than \(context.around), the net's context on both sides")
        }
    }

    func chunks(_ frames: Int) throws -> [Chunk] {
        if let context { return try planChunks(frames: frames, context: context, sizes: sizes) }
        guard frames <= admitted.high ?? frames else {
            throw EdgeError(
                .input, "mel", got: "\(frames) frames", expected: "at most \(admitted.high ?? 0)",
                cause: "its frames depend on the whole recording, so it cannot run in chunks")
        }
        let multiple = (max(frames, admitted.low) + admitted.step - 1) / admitted.step * admitted.step
        let size = admitted.only.first { $0 >= frames } ?? multiple
        return [Chunk(start: 0, stop: size, first: 0, last: frames)]
    }
}
