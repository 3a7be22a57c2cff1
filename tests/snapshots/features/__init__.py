"""What programs do that a snapshot must carry over: each generator sets something up, yields, and looks at it again.

Runs inside a container: `python3 -m features NAME`. Before the yield is before the snapshot; after it is in every copy,
and in the original. Standard library only, since it runs under the machine's own Python.
"""

from features import channels, files, heaps, large_blocks, mappings, processes
from features.refused import REFUSED
from features.registry import FEATURES

__all__ = ["FEATURES", "REFUSED", "channels", "files", "heaps", "large_blocks", "mappings", "processes"]
