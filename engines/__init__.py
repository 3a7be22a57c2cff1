"""What runs in a service's container, all of it."""
