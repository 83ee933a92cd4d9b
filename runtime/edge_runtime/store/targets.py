"""Atomic writing of files and folders, and their hashes.

Files and folders are built in a hidden folder beside the target, ``.edge-export-<random>-<name>/``, and
renamed onto it when they are complete and on the disk. Whatever happens in between (an exception, a full
disk, SIGKILL), the target is absent or whole: as it was before, or as it was meant to be. A folder that
replaces another needs two renames; between them the old one is in the hidden folder, and if the process dies
there, the next write to the target restores it.

The hidden folder is locked (flock) by the process that works in it. A lock ends with its process, so the next
write to the same target recognises the folders of dead processes and removes them. Where the file system has
no such locks (Windows, some network drives) leftovers stay until somebody deletes them.

A folder is replaced only on request, and only if the caller recognises it as its own (``ours``), so that a
mistyped ``--out`` does not delete a home directory. A single file is replaced by default, as by ``cp`` and
``>``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath

from edge_runtime.errors import EdgeError, TargetError, renaming
from edge_runtime.store.ownership import windows_refusal

if sys.platform != "win32":
    import fcntl
    import resource

_ON_WINDOWS = sys.platform == "win32"
_PREFIX = ".edge-export-"
_PREFIX_LENGTH = len(_PREFIX) + 9  # eight digits and a hyphen
# what `replace_directory` and `replace_file` yield, from the hidden folder's name on
_STAGED = re.compile(re.escape(_PREFIX) + r"[0-9a-f]{8}-([^/\\]+)[/\\]new[/\\]\1")
_FULL = {errno.ENOSPC: "no space left on the disk", errno.EDQUOT: "the disk quota used up"}
_UNWRITABLE = _FULL | {
    errno.EFBIG: "a file larger than this process may write",
    errno.EROFS: "a read-only file system",
}
# C++ libraries report a full disk in their own words; a disk with fewer free bytes than this counts as full
_FULL_BELOW = 65536
# what file managers leave behind; never part of what we wrote
_IGNORED = frozenset({".DS_Store"})


def is_empty(folder: Path) -> bool:
    """Whether a folder is empty, so that it may be replaced."""
    return all(entry.name in _IGNORED for entry in folder.iterdir())


@contextmanager
def replace_directory(
    target: str | os.PathLike[str], overwrite: bool = False, *, ours: Callable[[Path], bool] = is_empty
) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `target` when the block ends without an exception.

    Args:
        target: the folder to write; missing parents are made.
        overwrite: replace an existing folder, if `ours` says that it is one of ours.
        ours: whether an existing folder may be deleted. The default accepts an empty one only.

    Raises:
        TargetError: the target exists, is not ours, or cannot be written (no space, no permission).
    """
    final = _resolved(target)
    with _workspace(final) as work:
        _check_directory(final, overwrite, ours)
        fresh = work / "new" / final.name
        fresh.mkdir()
        yield fresh
        _sync_tree(fresh)
        _check_directory(final, overwrite, ours)
        _swap(fresh, final, aside=work / "old")


@contextmanager
def replace_file(target: str | os.PathLike[str], overwrite: bool = True) -> Iterator[Path]:
    """Yield a path to write; the file there becomes `target` when the block ends without an exception.

    The path yielded has the name of `target` (libraries choose formats by suffix) and nothing is there yet.

    Raises:
        TargetError: the target exists and `overwrite` is false, is not a regular file, or cannot be written.
    """
    final = _resolved(target)
    with _workspace(final) as work:
        _check_file(final, overwrite)
        fresh = work / "new" / final.name
        yield fresh
        if not fresh.is_file():
            raise TargetError(str(final), got="nothing written", expected="a file")
        _sync(fresh)
        _check_file(final, overwrite)
        fresh.replace(final)
        _sync(final.parent)


@contextmanager
def locked_folder(place: str | os.PathLike[str]) -> Iterator[Path]:
    """Create a folder if it is missing and lock it during the block: for work that later calls continue.

    Nothing in it is changed. The lock ends with the process, however that ends.

    Raises:
        TargetError: another process holds it, it is a link or a file, or it cannot be made.
    """
    folder = Path(place)
    try:
        lock = _hold(folder)
    except BlockingIOError as error:
        raise TargetError(
            str(folder),
            got="a folder that another process is using",
            expected="a folder that is not in use",
            cause="wait for the other call, or choose another folder",
        ) from error
    except OSError as error:
        raise _refusal(folder, error) from error
    try:
        yield folder
    finally:
        if lock is not None:
            os.close(lock)


def _hold(folder: Path) -> int | None:
    """Create and lock a folder that another process may remove at any moment."""
    while True:
        _make_parents(folder)
        if folder.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        with suppress(FileNotFoundError):
            lock = _lock(folder)
            if lock is None:
                return None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), os.stat(folder)):
                    return lock
            os.close(lock)


@contextmanager
def temporaries_beside(fresh: Path) -> Iterator[None]:
    """While the block lasts, temporary files go beside a folder of `replace_directory`, and with it.

    Those of a process that is killed are then found and removed by the next write to the same target.
    """
    place = fresh.parent.parent / "temporary"
    place.mkdir()
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(place)
    try:
        yield
    finally:
        tempfile.tempdir = before
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable


def published(text: str | os.PathLike[str]) -> str:
    """Text in which paths inside of hidden folders stand as they will be once the target is in place.

    >>> published("checking /data/.edge-export-0123abcd-out/new/out/model.onnx")
    'checking /data/out/model.onnx'
    """
    return _STAGED.sub(r"\1", os.fspath(text))


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder while they wrote targets there, whatever those were."""
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            name = entry.name[_PREFIX_LENGTH:]
            if entry.name.startswith(_PREFIX) and name:
                _clean_up_after_the_dead(folder / name)


def as_refusal(path: Path, error: OSError) -> TargetError | None:
    """The refusal that a failed write is (a full disk, a limit, a read-only disk); None for other errors."""
    return _refusal(path, error) if error.errno in _UNWRITABLE else None


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's contents, in hexadecimal; reads it piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(folder: str | os.PathLike[str]) -> str:
    """SHA-256 of a folder: relative paths and contents of its files, in hexadecimal.

    It is the hash of what sha256sum prints for the sorted files (empty folders and ``.DS_Store`` do not
    count)::

        cd FOLDER && find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum
    """
    tree = hashlib.sha256()
    for name in files_below(folder):
        tree.update(f"{sha256_file(Path(folder, name))}  {name}\n".encode("utf-8", "surrogateescape"))
    return tree.hexdigest()


def files_below(folder: str | os.PathLike[str]) -> list[str]:
    """Relative POSIX paths of all files below a folder, sorted by their bytes."""
    found = []
    for place, _, names in os.walk(folder, onerror=_raise):
        found += [Path(place, name).relative_to(folder).as_posix() for name in names if name not in _IGNORED]
    return sorted(found, key=os.fsencode)


def _raise(error: OSError) -> None:
    raise error


def _resolved(target: str | os.PathLike[str]) -> Path:
    """The target with links followed: what a link points to is replaced, never the link."""
    try:
        final = Path(target).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL in the name
        raise TargetError(str(target), got=str(error), expected="a path that can be written") from error
    if not final.name:
        raise TargetError(str(target), got="the root of a file system", expected="a path below it")
    if _ON_WINDOWS and (reason := windows_refusal(PureWindowsPath(os.fspath(target)).name)):
        raise TargetError(
            str(target), got=f"a name that Windows cannot hold: {reason}", expected="another name"
        )
    return final


def _check_directory(final: Path, overwrite: bool, ours: Callable[[Path], bool]) -> None:
    if not os.path.lexists(final):
        return
    if not final.is_dir():
        raise TargetError(str(final), got="a file", expected="a folder, or a path that does not exist yet")
    if not overwrite:
        raise TargetError(
            str(final),
            got="an existing folder",
            expected="a path that does not exist yet",
            cause="overwrite=True (--overwrite) replaces it",
        )
    try:
        replaceable = is_empty(final) or ours(final)
    except OSError as error:
        raise _refusal(final, error) from error
    if not replaceable:
        raise TargetError(
            str(final),
            got="a folder with files that edge-export did not write",
            expected="an empty folder, one written by the same command, or a path that does not exist yet",
            cause="nothing was deleted; choose another path, or empty the folder by hand",
        )


def _check_file(final: Path, overwrite: bool) -> None:
    if not os.path.lexists(final):
        return
    if not final.is_file():
        got = "a folder" if final.is_dir() else "a device, pipe or socket"
        raise TargetError(str(final), got=got, expected="a file, or a path that does not exist yet")
    if not overwrite:
        raise TargetError(
            str(final),
            got="an existing file",
            expected="a path that does not exist yet",
            cause="overwrite=True (--overwrite) replaces it",
        )


@contextmanager
def _workspace(final: Path) -> Iterator[Path]:
    """A locked hidden folder beside `final`, gone at the end; what the system refuses is a TargetError."""
    made: list[Path] = []
    work, lock = None, None
    done = False
    try:
        made = _make_parents(final.parent)
        _clean_up_after_the_dead(final)
        work, lock = _locked_folder(final)
        (work / "new").mkdir()
        with renaming(published):
            yield work
        done = True
    except TargetError as error:
        if error.what.startswith(f"{final}{os.sep}"):  # of a target inside of this one
            raise TargetError(
                str(final), got=error.got, expected=error.expected, cause=error.cause
            ) from error
        raise
    except EdgeError:
        raise
    except Exception as error:
        if _is_refusal(error, final, work):
            raise _refusal(final, error, work) from error
        raise
    finally:
        if work is not None:
            _delete(work)
        if lock is not None:
            os.close(lock)
        if not done:
            for parent in made:
                with suppress(OSError):
                    parent.rmdir()


def _make_parents(parent: Path) -> list[Path]:
    """Create the missing ancestors and return them, innermost first."""
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    return missing


def _locked_folder(final: Path) -> tuple[Path, int | None]:
    """A new hidden folder and its lock, which shows that its process is alive."""
    while True:
        work = final.with_name(f"{_PREFIX}{secrets.token_hex(4)}-{final.name}")
        work.mkdir(mode=0o700)
        # a process that cleans up may have removed the folder before it was locked
        with suppress(BlockingIOError, FileNotFoundError):
            lock = _lock(work)
            if work.exists():
                return work, lock
            if lock is not None:
                os.close(lock)


def _lock(folder: Path) -> int | None:
    """An open file that holds the lock on a folder, None where the file system has no locks.

    Raises:
        BlockingIOError, FileNotFoundError: another process holds it; the folder is gone.
    """
    if sys.platform == "win32":
        return None
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise
    except OSError:
        os.close(lock)
        return None
    return lock


def _clean_up_after_the_dead(final: Path) -> None:
    """Undo what killed processes left beside the target: restore an old folder, delete a half-written one."""
    for work in _leftovers(final):
        try:
            lock = _lock(work)
        except OSError:  # its process lives, or it is another user's
            continue
        if lock is None:  # nobody can tell
            continue
        try:
            if (work / "old").is_dir() and not os.path.lexists(final):
                (work / "old").rename(final)
            _delete(work)
        finally:
            os.close(lock)


def _leftovers(final: Path) -> list[Path]:
    return [
        entry
        for entry in final.parent.iterdir()
        if entry.name.startswith(_PREFIX) and entry.name[_PREFIX_LENGTH:] == final.name
    ]


def _delete(work: Path) -> None:
    """Remove a hidden folder; an old version in it is renamed first, so that it is never restored in part."""
    with suppress(OSError):
        (work / "old").rename(work / "discarded")
    shutil.rmtree(work, ignore_errors=True)


def _swap(fresh: Path, final: Path, aside: Path) -> None:
    """Rename `fresh` onto `final`; an existing `final` waits in `aside` and comes back if that fails."""
    replaces = os.path.lexists(final)
    if replaces:
        final.rename(aside)
    try:
        fresh.rename(final)
    except BaseException:
        if replaces and not os.path.lexists(final):
            aside.rename(final)
        raise
    _sync(final.parent)


def _sync_tree(folder: Path) -> None:
    """Write a folder's files to the disk, so that a full disk is reported here and not after the rename."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(Path(place, name))
        _sync(Path(place))


def _sync(path: Path) -> None:
    if sys.platform == "win32":  # no fsync of folders and of files opened for reading
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_refusal(error: Exception, final: Path, work: Path | None) -> bool:
    """Whether an exception says that the target cannot be written, not that something else went wrong."""
    if isinstance(error, OSError) and error.errno is not None:  # numpy and shutil raise some without
        if work is None or error.errno in _UNWRITABLE:
            return True
        named = [os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, str)]
        return any(name.startswith((str(work), str(final))) for name in named)
    return work is not None and _hidden_code(error, work) in _UNWRITABLE


def _hidden_code(error: Exception, work: Path) -> int:
    """The system's number for what a library says in words of its own; 0 where nothing speaks for one."""
    if said := re.search(r"\(os error (\d+)\)", str(error)):  # libraries written in Rust
        return int(said[1])
    try:
        if shutil.disk_usage(work).free < _FULL_BELOW:
            return errno.ENOSPC
        if sys.platform != "win32":
            limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
            if limit != resource.RLIM_INFINITY and _largest_file(work) + _FULL_BELOW > limit:
                return errno.EFBIG
    except OSError:
        pass
    return 0


def _largest_file(folder: Path) -> int:
    return max((Path(folder, name).stat().st_size for name in files_below(folder)), default=0)


def _refusal(final: Path, error: Exception, work: Path | None = None) -> TargetError:
    code = error.errno if isinstance(error, OSError) else None
    if not code:
        code = (_hidden_code(error, work) if work is not None else 0) or errno.ENOSPC
    got = _UNWRITABLE.get(code, "") or f"«{os.strerror(code)}»"
    place = error.filename if isinstance(error, OSError) else None
    if isinstance(place, str) and _PREFIX not in place and place != str(final):
        got = f"{got} at {place}"
    cause = "free some space, or choose another disk; nothing was left half-written" if code in _FULL else ""
    return TargetError(str(final), got=got, expected="a place that can be written", cause=cause)
