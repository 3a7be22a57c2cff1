"""Stands in for the package sglang where it cannot run: the same commands, without a model."""
