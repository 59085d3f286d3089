"""All promises, by name."""

from tests.reliability import cache, files, memory, saving

AREAS = {area.name: area for area in (files.AREA, saving.AREA, cache.AREA, memory.AREA)}
