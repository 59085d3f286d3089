"""Helps the search to find Korean words as people type them.

The search finds words by their beginnings. In Korean that misses the second half of a compound (전파 in 역전파), and a
term that the page writes with a space and the reader without (경사 하강법, 경사하강법). So each section of the index
gets a paragraph that is not shown: the ends of its words, and two or three neighbours joined. Particles at the end of
a word are cut off by the separator of the search (mkdocs.ko.yml), in the pages and in what is typed alike.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

PARTICLE = re.compile(r"(?<=[가-힣]{2})(?:에서|으로|[을를은는이가의에로와과도])$")  # as the separator has it
WORDS = re.compile(r"(?:[A-Za-z]+[ -]?)?[가-힣]+(?: [가-힣]+)*")
TAG = re.compile(r"<[^>]+>")


def parts(text: str) -> list[str]:
    """What else the words of a text can be looked up by."""
    found: dict[str, None] = {}
    for phrase in WORDS.findall(TAG.sub("\n", text)):
        words = phrase.split()
        bare = [PARTICLE.sub("", word) for word in words]
        for word in bare:
            for start in range(1, len(word) - 1):
                found[word[start:]] = None
        for last in range(1, len(words)):
            for first in range(max(last - 2, 0), last):
                found["".join(words[first:last]) + bare[last]] = None
    return list(found)


def extend_index(path: Path) -> None:
    """Adds the parts to every section of a built search index."""
    index = json.loads(path.read_text(encoding="utf-8"))
    for section in index["docs"]:
        if extra := parts(f"{section['title']}\n{section['text']}"):
            section["text"] += f"<p hidden>{' '.join(extra)}</p>"
    path.write_text(json.dumps(index, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
