"""A reference pack as a test of an app: `edge-export reference … --swift DIR` and ``--kotlin DIR``.

    Swift     PackTests.swift (Swift Testing) recomputes the pack with EdgeRuntime and says which stage is off
    Kotlin    PackTest.kt (JUnit 5) compares what the app's own code computes with the pack's arrays

Both folders hold the pack as a resource and pack.schema.json, the JSON schema of its instructions. The Swift
file is compiled and run by `make test-swift`; the Kotlin one is not run here, for want of its toolchain.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines import pack_files
from edge_runtime.store.reading import read_object
from edge_runtime.store.targets import replace_directory

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "VALIDATION_INSTRUCTIONS.json of a reference pack of edge-export",
    "type": "object",
    "required": ["title", "description", "steps", "files", "validation_criteria", "provenance"],
    "properties": {
        "title": {"type": "string", "pattern": "^Reference arrays for "},
        "description": {"type": "string"},
        "steps": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "files": {
            "type": "object",
            "description": "relative path of each file or folder of files: its shape, type and meaning",
            "additionalProperties": {"type": "string"},
        },
        "validation_criteria": {
            "type": "object",
            "required": ["numerical_tolerance"],
            "properties": {"numerical_tolerance": {"type": "number", "minimum": 0}},
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    "value_range": {
                        "type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2
                    },
                },
            },
        },
        "provenance": {"type": "object", "description": "which weights gave the numbers, what executed them"},
    },
}  # fmt: skip

SWIFT = """import EdgeRuntime
import Foundation
import Testing

/// The reference pack beside this file ({what}), recomputed stage by stage.
///
/// In the app's Package.swift:
///
///     .testTarget(
///         name: "{name}", dependencies: [.product(name: "EdgeRuntime", package: "edge-export")],
///         resources: [.copy("Pack")])
@Suite struct {name} {{
    static func pack() throws -> URL {{
        try #require(Bundle.module.url(forResource: "Pack", withExtension: nil))
    }}

    @Test func everyStageIsThatOfTheReference() async throws {{
        let check = try await PackCheck(try Self.pack())
        for stage in check.stages {{
            #expect(stage.status != .fail, "\\(stage.file): \\(stage.remark)")
        }}
        #expect(check.passed)
    }}

    /// What your own code computes is compared in the same way: put its array in the place of this one.
    @Test func yourOwnCodeGivesTheSame() throws {{
        let file = "{file}"
        let yours = try NpyArray(contentsOf: try Self.pack().appendingPathComponent(file)).float32()
        let stage = try PackCheck.compare(file, of: try Self.pack(), with: yours)
        #expect(stage.status == .pass, "\\(stage.file): \\(stage.remark)")
    }}
}}
"""

KOTLIN = """import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory

// The reference pack in src/test/resources/Pack ({what}) against what the app's code computes.
// Written by edge-export, which has no Kotlin toolchain: this file was not compiled there.

class Array(val shape: List<Int>, val values: DoubleArray)

/** A .npy file of float32 or float64 in C order, little-endian: what packs hold. */
fun readNpy(file: File): Array {{
    val bytes = ByteBuffer.wrap(file.readBytes()).order(ByteOrder.LITTLE_ENDIAN)
    require(bytes.limit() > 12 && bytes.get(0) == 0x93.toByte()) {{ "${{file.name}} is no .npy file" }}
    val start = if (bytes.get(6) > 1) 12 else 10
    val length = if (start == 12) bytes.getInt(8) else bytes.getShort(8).toInt() and 0xffff
    val header = String(bytes.array(), start, length, Charsets.US_ASCII)
    require("'fortran_order': False" in header) {{ "${{file.name}} is in Fortran order" }}
    val shape = Regex("'shape': \\\\(([^)]*)\\\\)").find(header)!!.groupValues[1]
        .split(",").map {{ it.trim() }}.filter {{ it.isNotEmpty() }}.map {{ it.toInt() }}
    val count = shape.fold(1) {{ product, size -> product * size }}
    bytes.position(start + length)
    val values = when {{
        "'<f4'" in header -> DoubleArray(count) {{ bytes.getFloat().toDouble() }}
        "'<f8'" in header -> DoubleArray(count) {{ bytes.getDouble() }}
        "'|u1'" in header -> DoubleArray(count) {{ (bytes.get().toInt() and 0xff).toDouble() }}
        else -> error("${{file.name}}: another type of number than float32, float64 and uint8")
    }}
    return Array(shape, values)
}}

class {name} {{
    private val pack = File(javaClass.getResource("/Pack")!!.toURI())

    /** File of the pack → what the app computes for it. Put your own code in the place of the reading. */
    private val stages: Map<String, () -> Array> = mapOf(
        "{file}" to {{ readNpy(File(pack, "{file}")) }},
    )

    @TestFactory
    fun stagesAreThoseOfTheReference() = stages.map {{ (file, compute) ->
        DynamicTest.dynamicTest(file) {{
            val reference = readNpy(File(pack, file))
            val computed = compute()
            assertEquals(reference.shape, computed.shape, "shape of $file")
            val worst = reference.values.indices.maxOf {{ abs(reference.values[it] - computed.values[it]) }}
            assertTrue(worst <= {tolerance}, "$file: max abs $worst is above the tolerance {tolerance}")
        }}
    }}
}}
"""

SOURCES = {"swift": ("PackTests.swift", SWIFT), "kotlin": ("PackTest.kt", KOTLIN)}
FIRST_STAGES = ("mel_spectrogram.npy", "mel.npy", "mel_db.npy")  # what a port computes first
_WHERE = {"swift": Path("Pack"), "kotlin": Path("resources", "Pack")}


@contextmanager
def replace_pack_test(
    out: str | os.PathLike[str], language: str, overwrite: bool
) -> Iterator[Callable[[Path], None]]:
    """Yields what fills the folder with the test of a pack; the folder is there when the block ends.

    Args:
        out: folder to make; refused before the block begins if it cannot be.
        language: "swift" or "kotlin".
        overwrite: replace a folder that this function wrote.

    Raises:
        ConfigError: another language.
        TargetError: ``out`` exists or cannot be written.
    """
    if language not in SOURCES:
        raise ConfigError("language", got=repr(language), expected=" or ".join(SOURCES))
    with replace_directory(out, overwrite, ours=partial(is_pack_test, language=language)) as folder:
        yield partial(_fill, folder, language)


def _fill(folder: Path, language: str, pack: Path) -> None:
    file, template = SOURCES[language]
    instructions = read_object(pack / pack_files.INSTRUCTIONS)
    arrays = sorted(path.name for path in pack.glob("*.npy"))
    text = template.format(
        what=instructions["title"],
        name=file.partition(".")[0],
        file=next((name for name in FIRST_STAGES if name in arrays), arrays[0]),
        tolerance=instructions["validation_criteria"]["numerical_tolerance"],
    )
    shutil.copytree(pack, folder / _WHERE[language])
    (folder / file).write_text(text, encoding="utf-8")
    pack_files.write_json(folder / "pack.schema.json", SCHEMA)


def is_pack_test(folder: Path, language: str) -> bool:
    """Whether a folder holds the test of a pack and nothing else."""
    file, where = SOURCES[language][0], _WHERE[language]
    names = {entry.name for entry in folder.iterdir()} - {".DS_Store"}
    return names == {file, "pack.schema.json", where.parts[0]} and pack_files.is_pack(folder / where)
