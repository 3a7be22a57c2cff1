"""Calls, and the containers that work on them."""
