"""The HTTP front: every web function and server of a deployed app under its own name."""
