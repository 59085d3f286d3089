"""Files from the network: fetched once, checked by SHA-256, and either whole in their place or not there."""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from tempfile import NamedTemporaryFile

from nbdl.data.errors import ChecksumError, DataFileError, DownloadError

PIECE = 2**16
TIMEOUT = 30.0


def cache_folder() -> Path:
    """Where downloaded data is kept: nbdl/data in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nbdl" / "data"


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(urls: str | Sequence[str], path: str | Path, sha256: str, largest: int) -> Path:
    """Fetches a file, unless it is there already with the right contents.

    It is written under a temporary name beside its place, checked, and renamed: whatever goes wrong, nothing
    half-written stays, and a file that was there is not touched.

    Args:
        urls: Where the file is; the next one is tried when one fails.
        path: Where it goes; folders are made.
        sha256: SHA-256 of its contents, in hexadecimal digits.
        largest: Most bytes to accept.

    Returns:
        The path.

    Raises:
        ChecksumError: What came is something else. Nothing is kept of it.
        DataFileError: It is larger than it may be, or it cannot be written.
        DownloadError: No address answered.
    """
    path, addresses = Path(path), [urls] if isinstance(urls, str) else list(urls)
    if path.is_file() and sha256_of(path) == sha256:
        return path
    failures: list[str] = []
    wrong: DataFileError | None = None
    for url in addresses:
        try:
            _fetch(url, path, sha256, largest)
            return path
        except DataFileError as error:  # another address may have the right one
            wrong = error
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", None) or error
            failures.append(f"{url}: {getattr(reason, 'strerror', None) or reason or type(error).__name__}")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DataFileError(str(path), "a place to write to", reason) from None
    if wrong is not None:
        raise wrong
    raise DownloadError(path.name, "an answer from the network", "; ".join(failures))


def _fetch(url: str, path: Path, sha256: str, largest: int) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".partial", delete=False) as partial:
            try:
                digest, size = hashlib.sha256(), 0
                while piece := response.read(PIECE):
                    size += len(piece)
                    if size > largest:
                        raise DataFileError(url, f"at most {largest:,} bytes", "more")
                    digest.update(piece)
                    partial.write(piece)
                if digest.hexdigest() != sha256:
                    raise ChecksumError(url, f"SHA-256 {sha256}", f"{digest.hexdigest()} ({size:,} bytes)")
                partial.flush()
                os.fsync(partial.fileno())
                os.replace(partial.name, path)
            except BaseException:
                Path(partial.name).unlink(missing_ok=True)
                raise
