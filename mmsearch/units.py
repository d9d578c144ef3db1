"""Numbers for a person's eyes."""

from __future__ import annotations


def amount(bytes: int) -> str:
    """A size: 512 B, 3.4 MB."""
    size = float(bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
