"""The Pulumi program: every service that the stack file declares."""

import pulumi

from components import SnapshottedGpuService
from components.checked import declared_stack

stack = declared_stack()
for service in stack.services:
    declared = SnapshottedGpuService(service.name, service, backend=stack.backend, environment=stack.environment)
    pulumi.export(service.name, declared.outputs)
