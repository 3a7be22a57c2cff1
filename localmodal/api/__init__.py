"""The gRPC face of the control plane: one module per noun, put together in `server.py`."""
