"""A container's network, and its way out."""
