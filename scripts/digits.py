"""Pack the pictures of the task `images`: the optical digits of UCI, as scikit-learn brings them, a folder a class.

    .venv/bin/python scripts/digits.py FILE.zip

The same bytes on every machine: nothing in the archive is compressed, and no time is that of a clock. What stands in
`data/` of the template beside it is what `just data-add data/digits.zip` writes in a render.
"""

from __future__ import annotations

import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


def png(pixels: np.ndarray) -> bytes:
    """Write an image of 8-bit grey values, uncompressed: libraries compress to other bytes in other versions."""
    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(np.uint8))  # 0: no filter
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(rows, 0),
        b"IEND": b"",
    }
    parts = [
        struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def main(archive: Path) -> None:
    """Write the archive, with each image in the folder of its digit, named by its row in the data."""
    digits = load_digits()
    names = [f"{digit}/{row:04}.png" for row, digit in enumerate(digits.target)]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for row in sorted(range(len(names)), key=names.__getitem__):
            entry = zipfile.ZipInfo(names[row], (1998, 7, 1, 0, 0, 0))  # when UCI got them
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            packed.writestr(entry, png(digits.images[row] * 255 // 16))  # from 17 grey values to all of them


if __name__ == "__main__":
    main(Path(sys.argv[1]))
