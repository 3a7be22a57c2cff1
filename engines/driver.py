"""What NVIDIA's driver says of this container's GPU."""

from __future__ import annotations

import shutil
import subprocess


def first_gpu(*fields: str) -> tuple[str, ...] | None:
    """The fields (`name`, `driver_version`, ...) of the first GPU; none where the driver cannot be asked."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    first = found.stdout.partition("\n")[0].strip()
    return tuple(value.strip() for value in first.split(",")) if first and not found.returncode else None
