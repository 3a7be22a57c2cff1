"""The command line `coldsnap`: what runs, how it starts, and what is missing."""
