"""As the real one: takes a server's arguments and a limit of its own, and says by its exit code how it went."""

import argparse
import os
import sys
from pathlib import Path

from sglang.launch_server import add_arguments

parser = argparse.ArgumentParser()
add_arguments(parser)
parser.add_argument("--timeout", type=int, default=3600)
parser.parse_args()
with Path(os.environ["STAND_IN_COMPILED"]).open("a") as compiled:
    compiled.write("once\n")
sys.exit(int(os.environ.get("STAND_IN_COMPILE_FAILS", "0")))
