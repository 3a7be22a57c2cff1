"""Images: their layers, how each is made, and what a container that runs one must know."""
