"""Reads machine code of GPUs: which instructions ptxas made of a kernel, counted by what they mean for its speed.

ptxas writes an ELF file whose `.text` sections hold the code, 16 bytes an instruction. nvdisasm names the instructions;
it takes most of a second to start, so the code of many kernels is given to it as one piece.
"""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from nbdl.runtime.errors import DeviceError

INSTRUCTION_BYTES = 16

CLASSES = {
    "load16": re.compile(r"LDG\.E(\.\w+)*\.128"),
    "store16": re.compile(r"STG\.E(\.\w+)*\.128"),
    "shared16": re.compile(r"(LDS|STS)(\.\w+)*\.128"),
    "tensor": re.compile(r"(HMMA|HGMMA|QGMMA)\b"),
    "local": re.compile(r"(LDL|STL)\b"),
    "float64": re.compile(r"(DADD|DMUL|DFMA|DMMA)\b"),
    "barrier": re.compile(r"BAR\.SYNC"),
}
"""What an instruction is counted as: loads and stores of 16 bytes in global and in shared memory, products on tensor
cores, slow local memory, arithmetic in float64, barriers of a block. `total` counts all but padding."""

_INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]+)\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", re.MULTILINE)

_SECTION = struct.Struct("<IIQQQQIIQQ")


def code_of(cubin: bytes) -> bytes:
    """The instructions of a compiled file: its `.text` sections, one after the other."""
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [_SECTION.unpack_from(cubin, table + number * size) for number in range(count)]
    names = sections[names_at][4]
    return b"".join(
        cubin[offset : offset + length]
        for name, _, _, _, offset, length, *_ in sections
        if cubin.startswith(b".text", names + name)
    )


def count_instructions(codes: Sequence[bytes], capability: tuple[int, int], nvdisasm: str) -> list[Counter[str]]:
    """For each piece of code how many instructions of each class it has.

    Raises:
        DeviceError: nvdisasm refuses the code, or names another number of instructions than there are.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "code")
        source.write_bytes(b"".join(codes))
        command = [nvdisasm, "-ndf", "-b", f"SM{capability[0]}{capability[1]}", str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DeviceError(f"nvdisasm refuses the code: {done.stderr.strip()[:400]}")
    opcodes = [opcode for _, opcode in _INSTRUCTION.findall(done.stdout)]
    if len(opcodes) != sum(map(len, codes)) // INSTRUCTION_BYTES:
        raise DeviceError(f"nvdisasm names {len(opcodes)} instructions of {sum(map(len, codes)) // INSTRUCTION_BYTES}")
    counts = []
    first = 0
    for code in codes:
        last = first + len(code) // INSTRUCTION_BYTES
        counts.append(_classify(opcodes[first:last]))
        first = last
    return counts


def _classify(opcodes: Sequence[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for opcode, number in Counter(opcodes).items():
        if opcode != "NOP":
            counts["total"] += number
        for name, pattern in CLASSES.items():
            if pattern.match(opcode):
                counts[name] += number
    return counts
