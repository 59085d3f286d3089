"""All promises, by name."""

from tests.reliability import (
    bad_input,
    bounds,
    cache,
    files,
    index_types,
    large,
    memory,
    numerics,
    packages,
    processes,
    saving,
    soak,
)

AREAS = {
    module.AREA.name: module.AREA
    for module in (
        bad_input,
        bounds,
        files,
        saving,
        cache,
        processes,
        memory,
        numerics,
        large,
        index_types,
        packages,
        soak,
    )
}
