"""A Modal-compatible control plane and worker on one machine, reached only through the `modal` client."""
