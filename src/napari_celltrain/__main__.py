"""``python -m napari_celltrain`` is the ``celltrain`` command."""

from __future__ import annotations

import sys

from napari_celltrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
