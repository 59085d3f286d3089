r"""Sound: WAV files, log-mel features, and the spoken digits.

A log-mel spectrogram shows sound the way the ear sorts it. Frames of 25 ms, one every 10 ms, are weighted with a Hann
window $w$ and go through the Fourier transform; the power in each frequency is gathered by overlapping triangles
$m_{bk}$ whose centres lie evenly on the mel scale, and the logarithm makes loud and soft comparable:

$$
X_t(k) = \Big| \sum_n w_n\, x_{th + n}\, e^{-2\pi i k n / N} \Big|^2, \qquad
y_{tb} = \log \Big( \sum_k m_{bk} X_t(k) + \varepsilon \Big), \qquad
\text{mel}(f) = 2595 \log_{10} (1 + f / 700)
$$

Sources: Davis and Mermelstein (1980), "Comparison of Parametric Representations for Monosyllabic Word Recognition",
for the triangles; O'Shaughnessy (1987), "Speech Communication", page 150, for the mel scale.
"""

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbdl.data.class_folders import class_files
from nbdl.data.errors import AudioFormatError, DataArgumentError, DataFileError, EmptyDataError
from nbdl.data.order import check_count
from nbdl.data.sequences import SequenceDataset

LARGEST_WAV = 2**28
PCM, EXTENSIBLE = 1, 0xFFFE
FORMATS = {2: "ADPCM", 3: "floating point", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 85: "MP3"}
PCM_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # the rest of the identifier that says PCM in long headers
QUIETEST = 1e-10  # power added before the logarithm: -100 dB

DIGITS_ADDRESS = "https://github.com/Jakobovski/free-spoken-digit-dataset"
SPREAD = np.float32(3)  # the standard deviation of log-mel features of speech, about
TEST_TAKES = 5  # recordings 0 to 4 of each digit and speaker are the official test set

# ---------------------------------------------------------------- WAV files


def read_wav(path: str | Path, largest: int = LARGEST_WAV) -> tuple[np.ndarray, int]:
    """Reads a WAV file with samples of 8, 16, 24 or 32 bits (PCM).

    Args:
        path: The file.
        largest: Most bytes to read.

    Returns:
        The samples, float32 [T] for one channel or [T, channels] for several, from -1 to 1; and how many a second.

    Raises:
        DataFileError: The file is missing, unreadable, or larger than it may be.
        AudioFormatError: It is no WAV file, is damaged or cut short, or its samples are not PCM.
    """
    try:
        size = Path(path).stat().st_size
        if size > largest:
            raise DataFileError(str(path), f"at most {largest:,} bytes", f"{size:,}")
        contents = Path(path).read_bytes()
    except OSError as error:
        raise DataFileError(str(path), "a WAV file", (error.strerror or str(error)).lower()) from None
    return _samples(str(path), contents)


def _samples(path: str, contents: bytes) -> tuple[np.ndarray, int]:
    if len(contents) < 12 or contents[:4] != b"RIFF" or contents[8:12] != b"WAVE":
        raise AudioFormatError(path, "a WAV file", "a file that does not begin with RIFF and WAVE")
    chunks = _chunks(path, contents)
    if b"fmt " not in chunks or b"data" not in chunks:
        missing = "format" if b"fmt " not in chunks else "samples"
        raise AudioFormatError(path, "a WAV file with a format and samples", f"one without {missing}")
    header, data = chunks[b"fmt "], chunks[b"data"]
    if len(header) < 16:
        raise AudioFormatError(path, "16 bytes of format", str(len(header)))
    kind, channels, rate, _, block, bits = struct.unpack("<HHIIHH", header[:16])
    if kind == EXTENSIBLE and len(header) >= 40 and header[26:40] == PCM_TAIL:
        kind = struct.unpack("<H", header[24:26])[0]
    if kind != PCM:
        raise AudioFormatError(path, "samples in PCM", FORMATS.get(kind, f"format {kind:#06x}"))
    width = bits // 8
    if bits not in (8, 16, 24, 32) or channels < 1 or rate < 1 or block != channels * width:
        got = f"{channels} channels of {bits} bits in blocks of {block} bytes, {rate} a second"
        raise AudioFormatError(path, "samples of 8, 16, 24 or 32 bits", got)
    if len(data) % block:
        raise AudioFormatError(path, f"blocks of {block} bytes", f"{len(data):,} bytes of samples, the last cut short")
    samples = _scaled(data, width)
    return (samples if channels == 1 else samples.reshape(-1, channels)), rate


def _chunks(path: str, contents: bytes) -> dict[bytes, bytes]:
    """The parts of a RIFF file by name; of two of one name the first."""
    chunks: dict[bytes, bytes] = {}
    place = 12
    while place + 8 <= len(contents):
        name, size = contents[place : place + 4], struct.unpack("<I", contents[place + 4 : place + 8])[0]
        body = contents[place + 8 : place + 8 + size]
        if len(body) < size:
            raise AudioFormatError(path, f"{size:,} bytes in {name.decode('latin-1')!r}", f"a file with {len(body):,}")
        chunks.setdefault(name, body)
        place += 8 + size + size % 2
    return chunks


def _scaled(data: bytes, width: int) -> np.ndarray:
    """Little-endian integers of 1 to 4 bytes as float32 from -1 to 1; those of one byte have their zero at 128."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    if width == 3:
        shifted = np.zeros((len(data) // 3, 4), np.uint8)
        shifted[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        numbers = shifted.reshape(-1).view("<i4")
        return (numbers / 2.0**31).astype(np.float32)
    numbers = np.frombuffer(data, f"<i{width}")
    return (numbers / 2.0 ** (8 * width - 1)).astype(np.float32)


# ---------------------------------------------------------------- features


def mel_filters(bands: int, size: int, rate: int, low: float = 0.0, high: float | None = None) -> np.ndarray:
    """Triangles on the mel scale: each rises from its left neighbour's centre to its own, where it is 1, and falls to
    its right neighbour's.

    Args:
        bands: How many.
        size: Samples of the Fourier transform.
        rate: Samples a second.
        low: Lowest frequency, in hertz. Default: 0.
        high: Highest frequency, in hertz; half the rate when None.

    Returns:
        The weight of each frequency of the transform in each band, float64 [bands, size // 2 + 1].

    Raises:
        DataArgumentError: The frequencies are not 0 <= low < high <= rate / 2, or a number is under 1.
    """
    check_count("bands", bands, 1, "a whole number from 1 up")
    top = rate / 2 if high is None else high
    if not 0 <= low < top <= rate / 2:
        raise DataArgumentError("low, high", f"0 <= low < high <= {rate / 2:g}", f"{low!r}, {high!r}")
    mels = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + top / 700), bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    frequencies = np.arange(size // 2 + 1) * (rate / size)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    triangles: np.ndarray = np.maximum(np.minimum(rising, falling), 0)
    return triangles


def log_mel(
    samples: np.ndarray,
    rate: int,
    bands: int = 40,
    window_seconds: float = 0.025,
    step_seconds: float = 0.01,
) -> np.ndarray:
    """The log-mel spectrogram of a sound.

    Args:
        samples: [T], one channel.
        rate: Samples a second.
        bands: Mel bands.
        window_seconds: Length of a frame.
        step_seconds: From the beginning of a frame to that of the next.

    Returns:
        float32 [frames, bands]; sounds shorter than a frame are filled up with silence to one.

    Raises:
        EmptyDataError: There is no sample.
        DataArgumentError: The samples have another shape, or a number is out of range.

    Example:
        >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
        >>> log_mel(tone, 8000).shape
        (98, 40)
    """
    if samples.ndim != 1:
        raise DataArgumentError("samples", "one channel, [T]", str(list(samples.shape)))
    if len(samples) == 0:
        raise EmptyDataError("samples", "at least one", "none")
    check_count("rate", rate, 1, "a whole number from 1 up")
    window, step = round(window_seconds * rate), round(step_seconds * rate)
    if window < 2 or step < 1:
        raise DataArgumentError(
            "window_seconds, step_seconds", "two samples a window and one a step", f"{window}, {step}"
        )
    size = 1 << (window - 1).bit_length()
    filled = np.pad(samples.astype(np.float64), (0, max(window - len(samples), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(filled, window)[::step]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(frames * hann, size)) ** 2
    return np.log(power @ mel_filters(bands, size, rate).T + QUIETEST).astype(np.float32)


def read_spectrogram(path: str | Path, bands: int = 40, per_band: bool = True) -> np.ndarray:
    """The log-mel spectrogram of a WAV file, channels averaged, as networks like it: mean 0, about unit variance.

    Args:
        path: The file.
        bands: Mel bands.
        per_band: Give each band mean 0, which takes out loudness and microphone: right for what changes while it
            sounds, such as words. A steady sound, a vowel or a hum, *is* the means of its bands: False then takes out
            the loudness only.

    Returns:
        float32 [frames, bands].

    Raises:
        DataFileError, AudioFormatError: As for `read_wav`.
        EmptyDataError: There is no sample in the file.
    """
    samples, rate = read_wav(path)
    if samples.ndim > 1:
        samples = samples.mean(axis=1)
    if not len(samples):
        raise EmptyDataError(str(path), "at least one sample", "none")
    features = log_mel(samples, rate, bands)
    mean = features.mean(axis=0) if per_band else features.mean()
    normalized: np.ndarray = (features - mean) / SPREAD
    return normalized


class SoundClassFolder(SequenceDataset):
    """Sounds with their classes: a folder with a folder of WAV files for each class, named like it.

    Samples are (log-mel spectrogram [T, bands], class id), in the order of the classes and paths; a batch is padded:
    (spectrograms [N, T, bands], lengths [N], class ids [N]).

    Args:
        root: The folder of folders.
        bands: Mel bands.
        per_band: As for `read_spectrogram`.

    Attributes:
        classes: The names of the folders, in alphabetical order: the class of each id.
        labels: The class id of each sound, int64 [N].
        paths: The files.

    Raises:
        DataFileError, AudioFormatError: There is no such folder; or as for `read_wav`.
        EmptyDataError: There are fewer than two folders with a WAV file in them, or a file has no sample.
    """

    def __init__(self, root: str | Path, bands: int = 40, per_band: bool = True) -> None:
        self.classes, self.paths, labels = class_files(root, (".wav",))
        super().__init__([read_spectrogram(path, bands, per_band) for path in self.paths], labels)

    def __repr__(self) -> str:
        return f"SoundClassFolder({len(self)} sounds, {len(self.classes)} classes, {self.span()})"


# ---------------------------------------------------------------- spoken digits


@dataclass(frozen=True)
class Recording:
    """One spoken digit: where it is, what is said, by whom, and the how-many-eth time."""

    path: Path
    digit: int
    speaker: str
    take: int


def spoken_digit_recordings(root: str | Path | None = None) -> list[Recording]:
    """The recordings of the Free Spoken Digit Dataset, in the order of digit, speaker and take.

    Args:
        root: A folder that holds them, directly, in recordings/ or in spoken-digits/recordings/; the folder that the
            environment variable NBDL_DATA names when None.

    Returns:
        Where each is, and what their names say of them.

    Raises:
        DataFileError: There is no such folder, or no recording in it.

    Source:
        Jackson et al. (2018), "Jakobovski/free-spoken-digit-dataset", CC BY-SA 4.0.
    """
    named = root or os.environ.get("NBDL_DATA")
    if not named:
        advice = f"a folder with a copy of {DIGITS_ADDRESS}, named by root or by NBDL_DATA"
        raise DataFileError("root", advice, "neither")
    for folder in (Path(named, "spoken-digits", "recordings"), Path(named, "recordings"), Path(named)):
        found = [_recording(path) for path in folder.glob("*.wav")]
        recordings = [recording for recording in found if recording is not None]
        if recordings:
            return sorted(recordings, key=lambda recording: (recording.digit, recording.speaker, recording.take))
    expected = f"recordings such as spoken-digits/recordings/7_jackson_0.wav in it ({DIGITS_ADDRESS})"
    raise DataFileError(str(named), expected, "none" if Path(named).is_dir() else "no such folder")


def _recording(path: Path) -> Recording | None:
    parts = re.fullmatch(r"(\d)_(\w+?)_(\d+)", path.stem)
    return None if parts is None else Recording(path, int(parts[1]), parts[2], int(parts[3]))


def spoken_digits(
    root: str | Path | None = None, bands: int = 40, left_out: str | None = None
) -> tuple[SequenceDataset, SequenceDataset]:
    """Spoken digits, "zero" to "nine", as log-mel spectrograms: 3,000 recordings of six speakers, about half a second
    each.

    Args:
        root: As for `spoken_digit_recordings`.
        bands: Mel bands.
        left_out: A speaker whose recordings are the test set, so that it holds a voice never heard; the official split
            when None: takes 0 to 4 of every digit and speaker to test on (300), the others to train on (2,700).

    Returns:
        The training and the test set: spectrograms [T, bands] of different lengths and the digits, int64. Each band of
        a recording has mean 0, which takes out the loudness and the microphone, and about unit variance.

    Raises:
        DataFileError, AudioFormatError: As for `spoken_digit_recordings` and `read_wav`.
        DataArgumentError: There is no such speaker.
    """
    recordings = spoken_digit_recordings(root)
    speakers = sorted({recording.speaker for recording in recordings})
    if left_out is not None and left_out not in speakers:
        raise DataArgumentError("left_out", f"one of {', '.join(speakers)}", repr(left_out))
    train: list[Recording] = []
    test: list[Recording] = []
    for recording in recordings:
        is_test = recording.take < TEST_TAKES if left_out is None else recording.speaker == left_out
        (test if is_test else train).append(recording)
    return _spectrograms(train, bands), _spectrograms(test, bands)


def _spectrograms(recordings: list[Recording], bands: int) -> SequenceDataset:
    if not recordings:
        raise EmptyDataError("recordings", "some to train on and some to test on", "none")
    sequences = [read_spectrogram(recording.path, bands) for recording in recordings]
    return SequenceDataset(sequences, [recording.digit for recording in recordings])
