"""`python docs/live FOLDER` builds what runs in the pages, without the pages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # a folder that is run brings itself, not what it lies in

import live

live.build(Path(sys.argv[1]))
