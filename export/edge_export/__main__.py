"""The command ``edge-export``: runs the app, and turns refusals into one sentence and exit status 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from edge_runtime.errors import EdgeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 a check failed, 2 refused."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        return run([argument for argument in given if argument != "--debug"])
    except EdgeError as refusal:
        if debug:
            raise
        print(f"edge-export: {refusal}", file=sys.stderr)
        return 2
    except OSError as failure:
        # permissions, a full disk, a vanished file: the user's to mend, not a bug of ours
        if debug:
            raise
        print(
            f"edge-export: {failure.filename or 'the system'}: {failure.strerror or failure}", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print("edge-export: stopped", file=sys.stderr)
        return 130


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
    except SystemExit:
        return 141  # the reader of our output has gone: click ends the program; the shell's status for it
    except Exception as error:
        # typer's own usage errors, whichever click it carries
        if type(error).__name__ == "NoArgsIsHelpError":
            return run([*arguments, "--help"])
        if not (hasattr(error, "format_message") and hasattr(error, "exit_code")):
            raise
        message = " ".join(error.format_message().split())
        place = getattr(getattr(error, "ctx", None), "command_path", None) or "edge-export"
        print(f"edge-export: {message} ({place} --help)", file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
