"""A target is absent or whole: after exceptions, on a full disk, after SIGKILL at any line and any moment."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import BundleError, TargetError
from edge_runtime.store import targets
from edge_runtime.store.targets import (
    files_below,
    is_empty,
    replace_directory,
    replace_file,
    sha256_file,
    sha256_tree,
    sweep,
    temporaries_beside,
)

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="kills, forks and locks as POSIX has them")

# a generation is three files with the same number, one of them in a folder
WRITER = """
import itertools, json, os, resource, signal, sys
from pathlib import Path
from edge_runtime.errors import BundleError, TargetError
from edge_runtime.store.targets import replace_directory, replace_file

target = Path(sys.argv[1])

def write_folder(number):
    with replace_directory(target, True, ours=lambda folder: True) as new:
        (new / "inner").mkdir()
        for name in ("a", "b", "inner/c"):
            (new / name).write_text(str(number) * 1000)

def write_file(number):
    with replace_file(target) as new:
        with open(new, "w") as file:
            for part in range(3):
                file.write(str(number) * 1000)
"""

# fork, kill the child at its n-th line of files.py or of the writer, look; until a child gets through
KILL_AT_EVERY_LINE = (
    WRITER
    + """
write = globals()[sys.argv[2]]

def trace_until(lines):
    def trace(frame, event, argument):
        nonlocal lines
        if not frame.f_code.co_filename.endswith(("edge_runtime/store/targets.py", "<string>")):
            return None
        if event == "line":
            lines -= 1
            if lines < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

def look():
    if not target.exists():
        return None
    files = sorted(target.rglob("*")) if target.is_dir() else [target]
    return [file.read_text() for file in files if file.is_file()]

seen = []
for lines in itertools.count():
    child = os.fork()
    if not child:
        sys.settrace(trace_until(lines))
        write(lines)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    seen.append(look())
print(json.dumps({"seen": seen, "end": look(), "beside": os.listdir(target.parent)}))
"""
)

WRITE_FOR_EVER = WRITER + "print(flush=True)\nfor number in itertools.count(10): write_folder(number)\n"

KILL_BETWEEN_THE_RENAMES = (
    WRITER
    + """
renames = []
def hook(event, arguments):
    if event == "os.rename":
        renames.append(arguments)
        if len(renames) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
write_folder(7)
"""
)

LIMITED = (
    WRITER
    + """
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
try:
    globals()[sys.argv[2]](12345)
except TargetError as error:
    print(error)
"""
)


def python(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_folder(target: Path, number: int, **options: bool) -> None:
    with replace_directory(target, **options, ours=lambda _: True) as new:
        (new / "inner").mkdir()
        for name in ("a", "b", "inner/c"):
            (new / name).write_text(str(number) * 1000)


def contents(target: Path) -> list[str]:
    return [(target / name).read_text() for name in files_below(target)]


def is_whole(texts: list[str]) -> bool:
    """Whether these are the files of one generation, or the one file that holds it three times."""
    whole = "".join(texts)
    return len(texts) in (1, 3) and len(set(texts)) == 1 and whole == whole[: len(whole) // 3000] * 3000


# --- what is written ---


def test_a_folder_appears_whole_with_its_parents_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "bundle"
    with replace_directory(target) as new:
        (new / "a").write_text("1")
        assert not target.exists()
        assert new.name == "bundle"
    assert files_below(tmp_path) == ["deep/down/bundle/a"]


def test_a_written_folder_has_the_permissions_of_any_new_folder(tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    write_folder(tmp_path / "target", 1)
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_file_appears_under_the_name_that_libraries_saw(tmp_path: Path) -> None:
    with replace_file(tmp_path / "mel.npy") as new:
        assert new.name == "mel.npy"
        new.write_bytes(b"1")
    assert os.listdir(tmp_path) == ["mel.npy"]


@pytest.mark.parametrize("name", ["old", "new", "discarded"])
def test_targets_may_bear_the_names_used_inside(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / name, 1)
    write_folder(tmp_path / name, 2, overwrite=True)
    assert contents(tmp_path / name) == ["2" * 1000] * 3
    assert os.listdir(tmp_path) == [name]


def test_an_exception_leaves_what_was_there_and_no_new_parents(tmp_path: Path) -> None:
    write_folder(tmp_path / "old", 1)

    def fail_halfway(target: Path) -> None:
        with replace_directory(target, True, ours=lambda _: True) as new:
            (new / "half").write_text("2")
            raise KeyError("a fault in the export")

    for target in (tmp_path / "old", tmp_path / "deep" / "down"):
        with pytest.raises(KeyError):
            fail_halfway(target)
    assert os.listdir(tmp_path) == ["old"]
    assert is_whole(contents(tmp_path / "old"))


@pytest.mark.parametrize("name", ["out", "a b, (c)", "new"])
def test_a_refusal_names_the_target_and_not_the_hidden_folder(tmp_path: Path, name: str) -> None:
    def refuse() -> None:
        with replace_directory(tmp_path / name) as outer, replace_directory(outer / "half") as inner:
            file = inner / "x.npy"
            raise BundleError(str(file), got=f"{file}.", expected=f"not {outer}", cause=f"at {inner}: 1")

    with pytest.raises(BundleError) as refusal:
        refuse()
    half = tmp_path / name / "half"
    found = refusal.value
    assert (found.what, found.got) == (f"{half / 'x.npy'}", f"{half / 'x.npy'}.")
    assert (found.expected, found.cause) == (f"not {half.parent}", f"at {half}: 1")


def test_a_refusal_that_names_no_hidden_folder_is_the_one_that_was_raised(tmp_path: Path) -> None:
    refusal = BundleError("a", got="b", expected="c")
    with pytest.raises(BundleError) as found, replace_directory(tmp_path / "out"):
        raise refusal
    assert found.value is refusal


def test_a_missing_input_is_not_blamed_on_the_target(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="checkpoint"), replace_directory(tmp_path / "out"):
        (tmp_path / "checkpoint").read_bytes()


def test_links_are_followed_not_replaced(tmp_path: Path) -> None:
    write_folder(tmp_path / "real", 1)
    (tmp_path / "link").symlink_to("real")
    write_folder(tmp_path / "link", 2, overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == ["2" * 1000] * 3


# --- what is refused ---


def test_an_existing_folder_is_refused_without_overwrite(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", 1)
    with pytest.raises(
        TargetError, match="out: got an existing folder, expected a path that does not exist yet"
    ):
        write_folder(tmp_path / "out", 2)
    assert contents(tmp_path / "out") == ["1" * 1000] * 3


def test_a_folder_of_others_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(TargetError, match=r"files that edge-export did not write.*nothing was deleted"),
        replace_directory(tmp_path, overwrite=True, ours=lambda folder: (folder / "manifest.json").exists()),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_without_a_predicate_only_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".DS_Store").touch()
    assert is_empty(tmp_path / "out")
    with replace_directory(tmp_path / "out", overwrite=True) as new:
        (new / "a").touch()
    with (
        pytest.raises(TargetError, match="did not write"),
        replace_directory(tmp_path / "out", overwrite=True),
    ):
        pytest.fail("the block must not run")


def test_files_that_arrive_while_writing_are_not_deleted(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def write_beside_somebody() -> None:
        with replace_directory(target):
            target.mkdir()
            (target / "theirs").touch()

    with pytest.raises(TargetError, match="existing folder"):
        write_beside_somebody()
    assert os.listdir(target) == ["theirs"]
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_is_replaced_unless_told_otherwise(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    for text in ("1", "2"):
        with replace_file(target) as new:
            new.write_text(text)
    with pytest.raises(TargetError, match="got an existing file"), replace_file(target, overwrite=False):
        pytest.fail("the block must not run")
    assert target.read_text() == "2"


@pytest.mark.parametrize(
    ("kind", "got"),
    [("folder", "got a folder"), ("fifo", "got a device, pipe or socket"), ("nothing", "nothing written")],
)
@posix_only
def test_only_files_become_files(tmp_path: Path, kind: str, got: str) -> None:
    target = tmp_path / "target"
    if kind == "folder":
        target.mkdir()
    if kind == "fifo":
        os.mkfifo(target)
    with pytest.raises(TargetError, match=got), replace_file(target):
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with (
        pytest.raises(TargetError, match="got a file, expected a folder"),
        replace_directory(tmp_path / "out", True),
    ):
        pytest.fail("the block must not run")


def test_a_place_below_a_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(TargetError, match=r"file/sub/out: got «.*» at .*file"),
        replace_file(tmp_path / "file/sub/out"),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("path", ["/", "a\0b"])
def test_impossible_paths_are_refused(path: str) -> None:
    with pytest.raises(TargetError, match="expected a path"), replace_directory(path):
        pytest.fail("the block must not run")


# --- kills ---


@posix_only
@pytest.mark.parametrize("kind", ["write_folder", "write_file"])
def test_killed_at_any_line_the_target_is_absent_or_whole(tmp_path: Path, kind: str) -> None:
    done = python(KILL_AT_EVERY_LINE, tmp_path / "target", kind)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    seen = found["seen"]
    assert len(seen) > 50
    assert None in seen
    survivors = [texts for texts in seen if texts is not None]
    assert survivors, "some were killed after the last rename"
    assert all(map(is_whole, survivors))
    assert {len(texts) for texts in survivors} == {3 if kind == "write_folder" else 1}
    assert found["end"][0].startswith(str(len(seen))), "the write that was not killed"
    assert found["beside"] == ["target"], "what the killed ones left is gone"


@posix_only
def test_killed_at_random_moments_the_target_is_absent_or_whole(tmp_path: Path) -> None:
    target = tmp_path / "target"
    moments = random.Random(7)
    for _ in range(25):
        child = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, target], stdout=subprocess.PIPE)
        assert child.stdout
        child.stdout.readline()  # it is about to write
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=moments.uniform(0, 0.08))
        child.kill()
        child.communicate()
        assert not target.exists() or is_whole(contents(target))
    write_folder(target, 5, overwrite=True)
    assert contents(target) == ["5" * 1000] * 3
    assert os.listdir(tmp_path) == ["target"]


@posix_only
def test_what_a_killed_process_had_moved_aside_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_folder(target, 1)
    assert python(KILL_BETWEEN_THE_RENAMES, target).returncode == -signal.SIGKILL
    assert not target.exists()
    with pytest.raises(TargetError, match="existing folder"):
        write_folder(target, 2)
    assert contents(target) == ["1" * 1000] * 3
    assert os.listdir(tmp_path) == ["target"]


@posix_only
def test_the_work_of_the_living_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with replace_directory(target, overwrite=True, ours=lambda _: True) as first:
        (first / "a").write_text("first")
        write_folder(target, 2)
        assert (first / "a").exists()
        assert contents(target) == ["2" * 1000] * 3
    assert contents(target) == ["first"]
    assert os.listdir(tmp_path) == ["target"]


@posix_only
def test_leftovers_of_other_targets_are_left_alone(tmp_path: Path) -> None:
    other = tmp_path / ".edge-export-01234567-other"
    other.mkdir()
    write_folder(tmp_path / "target", 1)
    assert other.exists()
    write_folder(tmp_path / "other", 1)
    assert not other.exists()


# --- full disks ---


@pytest.fixture
def full_disk(disk_of: Callable[[str], Path]) -> Path:
    """A real file system with room for 128 KiB."""
    return disk_of("128k")


def test_a_full_disk_is_one_sentence_and_leaves_the_old(full_disk: Path) -> None:
    write_folder(full_disk / "out", 1)
    with (
        pytest.raises(TargetError, match=r"out: got no space left on the disk, expected .*; free some space"),
        replace_directory(full_disk / "out", True, ours=lambda _: True) as new,
    ):
        (new / "large").write_bytes(bytes(200_000))
    assert contents(full_disk / "out") == ["1" * 1000] * 3
    assert os.listdir(full_disk) == ["out"]


def test_a_full_disk_is_recognised_behind_a_librarys_own_words(full_disk: Path) -> None:
    def write_as_a_library_does(path: Path) -> None:
        try:
            path.write_bytes(bytes(200_000))
        except OSError as error:
            raise RuntimeError("unexpected pos 64 vs 0") from error

    with pytest.raises(TargetError, match="no space left"), replace_file(full_disk / "out.pt") as new:
        write_as_a_library_does(new)
    assert os.listdir(full_disk) == []


def save_array(folder: Path) -> None:
    np.save(folder / "large.npy", np.zeros(25_000))


def save_stream(folder: Path) -> None:
    with (folder / "large.npy").open("wb") as stream:
        np.save(stream, np.zeros(25_000))


def copy_tree(folder: Path) -> None:
    source = folder.parents[3] / "source"  # beside the disk
    source.mkdir()
    for name in "abc":
        (source / name).write_bytes(bytes(60_000))
    shutil.copytree(source, folder / "copy")


def replace_file_inside(folder: Path) -> None:
    with replace_file(folder / "large") as new:
        new.write_bytes(bytes(200_000))


@pytest.mark.parametrize("fill", [save_array, save_stream, copy_tree, replace_file_inside])
def test_a_full_disk_is_the_same_sentence_whoever_writes(
    full_disk: Path, fill: Callable[[Path], None]
) -> None:
    def write() -> None:
        with replace_directory(full_disk / "out") as new:
            fill(new)

    with pytest.raises(TargetError) as refusal:
        write()
    assert str(refusal.value) == (
        f"{full_disk / 'out'}: got no space left on the disk, expected a place that can be written; "
        "free some space, or choose another disk; nothing was left half-written"
    )
    assert os.listdir(full_disk) == []


def test_an_error_without_a_number_is_not_blamed_on_a_disk_with_room(tmp_path: Path) -> None:
    with pytest.raises(shutil.Error, match="same file"), replace_directory(tmp_path / "out"):
        raise shutil.Error("same file")


def test_a_librarys_fault_is_not_blamed_on_a_disk_with_room(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unsupported"), replace_file(tmp_path / "out.pt"):
        raise RuntimeError("unsupported operation")


@posix_only
@pytest.mark.parametrize("kind", ["write_folder", "write_file"])
def test_a_file_size_limit_is_one_sentence_and_leaves_the_old(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "write_folder":
        write_folder(target, 1)
    else:
        target.write_text("1")
    done = python(LIMITED, target, kind)
    assert done.stdout.startswith(f"{target}: got a file larger than this process may write, expected"), (
        done.stderr
    )
    assert (contents(target) if kind == "write_folder" else [target.read_text()])[0][0] == "1"
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_that_the_system_refuses_is_one_sentence(tmp_path: Path) -> None:
    name = "x" * 250  # longer with the hidden folder's prefix than file systems allow
    with (
        pytest.raises(TargetError, match=os.strerror(errno.ENAMETOOLONG)),
        replace_directory(tmp_path / name),
    ):
        pytest.fail("the block must not run")


# --- hashes ---


def test_sha256_file_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="the oracle is GNU sha256sum")
def test_sha256_tree_is_what_the_shell_says(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a/b/c", "a-b", "é"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "a" / "empty").mkdir()
    line = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    told = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert sha256_tree(tmp_path) == told.split()[0]
    (tmp_path / ".DS_Store").touch()
    assert sha256_tree(tmp_path) == told.split()[0]


def test_sha256_tree_sees_contents_names_and_places(tmp_path: Path) -> None:
    hashes = set()
    for index, (name, text) in enumerate([("a", "1"), ("a", "2"), ("b", "1"), ("c/a", "1")]):
        file = tmp_path / str(index) / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
        hashes.add(sha256_tree(tmp_path / str(index)))
    assert len(hashes) == 4


LIBRARY_LIMITED = """
import resource, sys
from pathlib import Path
from edge_runtime.errors import BundleError, TargetError
from edge_runtime.store.targets import replace_file

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with replace_file(Path(sys.argv[1])) as new:
        try:
            new.write_bytes(bytes(200_000))
        except OSError:
            raise RuntimeError("file write failed") from None
except TargetError as error:
    print(error)
"""


@posix_only
def test_a_limit_is_recognised_behind_a_librarys_own_words(tmp_path: Path) -> None:
    done = python(LIBRARY_LIMITED, tmp_path / "out.pt")
    assert f"{tmp_path / 'out.pt'}: got a file larger than this process may write" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_the_system_are_read_out_of_a_librarys_words(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="got no space left on the disk"), replace_file(tmp_path / "a"):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(RuntimeError, match="os error 2"), replace_file(tmp_path / "a"):
        raise RuntimeError("I/O error: No such file or directory (os error 2)")


@posix_only
def test_a_folder_is_swept_of_what_the_dead_left_and_of_nothing_else(tmp_path: Path) -> None:
    """Of any name; an old version that waited goes back; what lives is locked."""
    names = [".edge-export-00000000-a", ".edge-export-00000001-b", ".edge-export-mine", ".other", "c"]
    for name in names:
        (tmp_path / name / "new").mkdir(parents=True)
    (tmp_path / names[1] / "old").mkdir()
    (tmp_path / names[1] / "old" / "precious").write_text("1")
    with replace_directory(tmp_path / "alive") as new:
        sweep(tmp_path)
        (new / "x").write_text("1")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [*sorted(names[2:4]), "alive", "b", "c"]
    assert (tmp_path / "b" / "precious").read_text() == "1"
    sweep(tmp_path / "nowhere")


def test_temporary_files_lie_beside_the_target_and_end_with_it(tmp_path: Path) -> None:
    before = os.environ.get("TMPDIR")
    with replace_directory(tmp_path / "out") as new, temporaries_beside(new):
        place = Path(tempfile.mkdtemp())
        assert place.is_relative_to(tmp_path)
        assert os.environ["TMPDIR"] == str(place.parent)
        (place / "left").write_text("by a library")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert os.environ.get("TMPDIR") == before
    assert not Path(tempfile.gettempdir()).is_relative_to(tmp_path / "out")


@pytest.mark.parametrize("name", ["con", "aux.npy", "out?", "mels."])
def test_names_that_windows_cannot_hold_are_refused_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_ON_WINDOWS", True)
    with (
        pytest.raises(TargetError, match="a name that Windows cannot hold"),
        replace_directory(tmp_path / name),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    with replace_directory(tmp_path / "outer"):
        pass
