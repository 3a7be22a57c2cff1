"""Apps: their functions, and what is deployed, staged, rolled back or stopped."""
