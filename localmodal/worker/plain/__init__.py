"""Containers as plain processes, where the machine allows no others."""
