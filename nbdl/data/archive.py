"""Archives: unpacked member by member, into a folder and nowhere else, checked before anything is written."""

import lzma
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from nbdl.data.errors import ArchiveError

LARGEST = 2**32
MOST_MEMBERS = 100_000
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError),
    *(struct.error, ValueError, LookupError),  # what the standard library's readers let through
)
PIECE = 2**20


@dataclass(frozen=True)
class Member:
    """One entry of an archive: its path, its size in bytes, what it is, and how to read it."""

    name: str
    size: int
    kind: str
    open: Callable[[], IO[bytes] | None]


def unpack(archive: str | Path, folder: str | Path, largest: int = LARGEST) -> Path:
    """Unpacks a zip or tar archive, the latter also under gzip, bzip2 or xz.

    Every member is looked at before the first is written. The files are written into a temporary folder beside the
    target, and take their place when all of them are whole.

    Args:
        archive: The file.
        folder: Where its contents go: a folder that does not exist yet, or is empty.
        largest: Most bytes that the files may take together.

    Returns:
        The folder.

    Raises:
        ArchiveError: The archive is missing or damaged, a member lies outside the folder, is no plain file, or comes
            twice; or there are too many of them or they are too large. Nothing stays written then.
    """
    source, folder = str(archive), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArchiveError(str(folder), "a folder that is empty or does not exist yet", "one with something in it")
    try:
        with _members(source) as found:
            members = _checked(source, found, largest)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
                contents = Path(beside, "contents")
                contents.mkdir()
                for member in members:
                    _write(source, member, contents.joinpath(*PurePosixPath(member.name).parts))
                if folder.exists():
                    folder.rmdir()
                os.replace(contents, folder)
    except ArchiveError:
        raise
    except DAMAGED as error:
        raise ArchiveError(source, "a whole zip or tar archive", f"a damaged one ({error})") from None
    except (NotImplementedError, RuntimeError) as error:  # what zipfile says of unknown compression and of encryption
        raise ArchiveError(source, "an archive that can be read", str(error)) from None
    except OSError as error:
        reason = error.strerror.lower() if error.strerror else f"a damaged one ({error})"
        raise ArchiveError(source, "a zip or tar archive", reason) from None
    return folder


@contextmanager
def _members(source: str) -> Iterator[Iterator[Member]]:
    """The members of an archive, one by one: the headers of a compressed tar come as it is decompressed."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as file:
            yield (Member(i.filename, i.file_size, _zip_kind(i), partial(file.open, i)) for i in file.infolist())
    else:
        with tarfile.open(source) as tar:
            yield (Member(i.name, i.size, _tar_kind(i), partial(tar.extractfile, i)) for i in tar)


def _zip_kind(info: zipfile.ZipInfo) -> str:
    if info.is_dir():
        return "folder"
    mode = info.external_attr >> 16
    return "link" if stat.S_ISLNK(mode) else "file"


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return "folder"
    if info.isreg():
        return "file"
    return "link" if info.issym() or info.islnk() else "device"


def _checked(source: str, members: Iterator[Member], largest: int) -> list[Member]:
    """The files among the members, when every member may be unpacked."""
    files: dict[PurePosixPath, Member] = {}
    total = 0
    for count, member in enumerate(members):
        path, elsewhere = PurePosixPath(member.name), PureWindowsPath(member.name)
        outside = path.is_absolute() or elsewhere.drive or elsewhere.root or ".." in elsewhere.parts
        if outside or "\0" in member.name:
            raise ArchiveError(source, "paths inside the folder", repr(member.name))
        if member.kind not in ("file", "folder"):
            raise ArchiveError(source, "plain files and folders", f"a {member.kind}, {member.name!r}")
        total += member.size
        if total > largest or count >= MOST_MEMBERS:
            raise ArchiveError(source, f"at most {largest:,} bytes in {MOST_MEMBERS:,} files", "more")
        if member.kind == "file":
            if path in files:
                raise ArchiveError(source, "every path once", f"{member.name!r} twice")
            files[path] = member
    return list(files.values())


def _write(source: str, member: Member, target: Path) -> None:
    """Writes one file, piece by piece, which must have the size that its header says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    content = member.open()
    assert content is not None  # it is a plain file
    with content, open(target, "xb") as file:
        left = member.size
        while piece := content.read(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            file.write(piece)
        if left != 0:
            raise ArchiveError(source, f"{member.size:,} bytes in {member.name!r}", "a member of another size")
