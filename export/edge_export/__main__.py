"""The command ``edge-export``: runs the app, and turns errors into one sentence and exit status 2.

Two options may stand anywhere on the line: ``--debug`` shows tracebacks, ``--strict`` refuses inputs for
which there would otherwise be a warning (`edge_runtime.errors.doubt`).
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from io import TextIOWrapper
from typing import Any

from edge_export import interrupts
from edge_runtime.errors import BackendError, EdgeError, EdgeWarning, InputError, TargetError, shown, strictly

# exceptions that damaged or impossible inputs cause in Python and numpy where no reader foresees them
FAILURES = (OSError, MemoryError, RecursionError, OverflowError, UnicodeError)
# library → extra that installs it, for commands that cannot do without
EXTRAS = {
    "torch": "train", "lightning": "train", "safetensors": "train", "tensorboard": "train", "h5py": "train",
    "matplotlib": "train", "scipy": "train", "cv2": "video", "onnx": "export", "coremltools": "export",
    "onnxruntime": "ort", "soundfile": "audio", "soxr": "audio",
}  # fmt: skip
STOPPED, NO_READER = 130, 141  # exit statuses that a shell gives for SIGINT and SIGPIPE
_ABOUT_THE_TARGET = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 a check failed, 2 refused."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug, strict = "--debug" in given, "--strict" in given
    given = [argument for argument in given if argument not in ("--debug", "--strict")]
    _keep_standard_streams()
    _speak_any_alphabet()
    interrupts.hear()
    try:
        with _printed_warnings(), strictly() if strict else nullcontext():
            status = run(given)
            if sys.stdout is not None:
                sys.stdout.flush()
            return status
    except BrokenPipeError:
        return _without_a_reader()
    except EdgeError as refusal:
        if debug:
            raise
        print(f"edge-export: {refusal}", file=sys.stderr)
        return 2
    except FAILURES as failure:
        # permissions, a full disk, a vanished file, numbers out of range: for the user to fix, not our bug
        if debug:
            raise
        print(f"edge-export: {explain(failure, given)}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as missing:
        if debug or (missing.name or "").split(".")[0] not in EXTRAS:
            raise
        print(f"edge-export: {_explain_missing(missing)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("edge-export: stopped", file=sys.stderr)
        # if it passed through text that is executed, Python sends itself SIGINT at its end, unless it forgets
        eval("None")
        return STOPPED


def _without_a_reader() -> int:
    """Whoever read our output has gone, as `head` does: nobody is told, and nothing is tried once more."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return NO_READER


def _keep_standard_streams() -> None:
    """Where a standard stream is closed, the next file that is opened would take its place and its output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _explain_missing(missing: ModuleNotFoundError) -> EdgeError:
    library = (missing.name or "").split(".")[0]
    return BackendError(
        "this command",
        got=f"no module named {missing.name}",
        expected=f"{library} to be installed",
        cause=f"pip install 'edge-export[{EXTRAS[library]}]'",
    )


def explain(failure: BaseException, arguments: Sequence[str]) -> EdgeError:
    """The sentence for one of `FAILURES`; names the file concerned as well as can be known."""
    if isinstance(failure, OSError):
        return _explain_system(failure, arguments)
    said = shown(str(failure) or type(failure).__name__, 200)
    place = _last_opened()
    if isinstance(failure, UnicodeEncodeError):
        place, said = str(failure.object)[:4096], "characters that are not text"
    elif isinstance(failure, MemoryError):
        said = f"more than this machine's memory holds ({said})"
    elif isinstance(failure, RecursionError):
        said = f"something nested too deeply ({said})"
    return InputError(
        place or "the command",
        got=said,
        expected="an input of ordinary size and values",
        cause="it is damaged, or too large for this machine; --debug shows where it failed",
    )


def _last_opened() -> str:
    # where that module was never loaded, no input was opened; loading it takes numpy, half of `--help`'s time
    reading = sys.modules.get("edge_runtime.store.reading")
    return "" if reading is None else str(reading.last_opened())


def _explain_system(failure: OSError, arguments: Sequence[str]) -> EdgeError:
    said = f"«{failure.strerror or failure}»"
    if failure.errno in _ABOUT_THE_TARGET:
        place = failure.filename or _target(arguments)
        return TargetError(str(place), got=said, expected="a place that can be written")
    place = failure.filename or _last_opened() or "the command"
    return InputError(str(place), got=said, expected="a file that can be read or written")


def _target(arguments: Sequence[str]) -> str:
    """The path that the command should write, from its options."""
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("--out", "--json", "--report"):
            return value or next(iter(arguments[place + 1 :]), name)
    return "the output"


def _speak_any_alphabet() -> None:
    """Characters that the terminal's encoding lacks are escaped instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _printed_warnings() -> Iterator[None]:
    """Our own warnings are printed as one line each, other warnings as Python prints them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", EdgeWarning)
        ordinary = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, EdgeWarning):
                print(f"warning: {message}", file=sys.stderr)
            else:
                ordinary(message, category, *where, **more)

        warnings.showwarning = show
        yield


COMPLETION = "_EDGE_EXPORT_COMPLETE"  # typer's variable: set by shells that have installed completion


def run(arguments: list[str]) -> int:
    """Parse and execute; usage errors become one sentence too."""
    try:
        import typer

        from edge_export.cli.app import app
    except ModuleNotFoundError as missing:
        if missing.name != "typer":
            raise
        print("edge-export: the command line needs typer: pip install 'edge-export[cli]'", file=sys.stderr)
        return 2
    os.environ.setdefault("COLUMNS", "110")
    command = typer.main.get_command(app)
    try:
        result = command.main(arguments or ["--help"], prog_name="edge-export", standalone_mode=False)
    except SystemExit as end:
        if os.environ.get(COMPLETION):  # a shell asked how to go on, and was told
            return end.code if isinstance(end.code, int) else 0
        return _without_a_reader()  # click ends the program where the reader of our output has gone
    except Exception as error:
        # typer's own usage errors, whichever click it carries
        if type(error).__name__ == "NoArgsIsHelpError":
            return run([*arguments, "--help"])
        if not (hasattr(error, "format_message") and hasattr(error, "exit_code")):
            raise
        message = shown(" ".join(error.format_message().split()))
        place = getattr(getattr(error, "ctx", None), "command_path", None) or "edge-export"
        print(f"edge-export: {message} ({place} --help)", file=sys.stderr)
        return 2
    if result == STOPPED:  # what typer makes of Ctrl-C
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
