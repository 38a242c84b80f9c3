"""Copies the generated modules of TensorFlow and its Serving API out of where they are installed.

`python docker/copy_stubs.py FOLDER`: what is in the folder then is all that `control_plane.serving`
needs of them; a megabyte or two instead of two thousand.
"""

import shutil
import sys
from pathlib import Path

from control_plane.serving.stubs import module_files


def copy_stubs(folder: Path) -> list[Path]:
    """Copy every needed module below the folder, as it lies below `site-packages`."""
    copies = []
    for file in module_files():
        copy = folder / _inside(file)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copies.append(Path(shutil.copyfile(file, copy)))
    return copies


def _inside(file: Path) -> Path:
    """Return the path below the folder that Python found the package in."""
    found_in = [entry for entry in sys.path if entry and file.is_relative_to(entry)]
    return file.relative_to(max(found_in, key=len))


if __name__ == "__main__":
    copied = copy_stubs(Path(sys.argv[1]))
    size_bytes = sum(file.stat().st_size for file in copied)
    sys.stdout.write(f"{len(copied)} modules, {size_bytes / 1e6:.1f} MB\n")
