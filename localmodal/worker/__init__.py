"""Containers, images' build steps and memory snapshots on this machine."""
