"""Memory snapshots of containers. Nothing outside this folder knows which snapshotter runs."""
