"""What happens to a service, without Pulumi: pure decisions, and operations through the `modal` client.

Each operation is a process of its own (`python -m service.deploy`): `engines.app` is a module-level app, and the
client keeps one event loop a process. `operations.run` starts one, `process.serve` is its other side.
"""
