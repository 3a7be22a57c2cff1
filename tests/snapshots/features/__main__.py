"""Runs one of the features by its name."""

import os
import sys
import time
from pathlib import Path

from features import FEATURES
from features.refused import refused_feature


def main(name):
    running = FEATURES[name]() if name in FEATURES else refused_feature(name)
    next(running)
    folder = Path("/run/coldsnap")
    (folder / "ready").touch()
    while not (folder / "go").exists():
        time.sleep(0.005)
    assert next(running, "done") == "done"
    os.write(1, b"as it was\n")
    os._exit(0)


main(sys.argv[1])
