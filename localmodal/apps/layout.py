"""What the client is told of an app's functions and classes: their handles, and what the container's copy needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_proto import api_pb2

from localmodal.messages import copy_shared

if TYPE_CHECKING:
    from localmodal.apps.apps import App, Version
    from localmodal.apps.functions import Function
    from localmodal.plane import Plane


def function_handle(function: api_pb2.Function, app_id: str, definition_id: str = "") -> api_pb2.FunctionHandleMetadata:
    """What a handle of a function needs to know to call it. `function` has its web addresses in it."""
    handle = copy_shared(function, api_pb2.FunctionHandleMetadata())
    for name, method in function.method_definitions.items():
        of_method = copy_shared(method, handle.method_handle_metadata[name])
        of_method.is_method, of_method.use_method_name = True, name
    for one in (handle, *handle.method_handle_metadata.values()):
        one.definition_id, one.app_id = definition_id, app_id
    if function.is_server:
        handle._experimental_flash_urls.append(function.web_url)  # noqa: SLF001 (the field's name on the wire)
    return handle


def handle_of(plane: Plane, function: Function) -> api_pb2.FunctionHandleMetadata:
    """The handle of a published function or variant."""
    definition = plane.web_names.named(function)
    handle = function_handle(definition, function.app_id, function.definition_id)
    handle.base_function_id = function.base_id
    return handle


def class_handle(plane: Plane, version: Version, tag: str) -> api_pb2.ClassHandleMetadata:
    """The handle of a class: that of the function behind it."""
    handle = api_pb2.ClassHandleMetadata()
    if function_id := version.published.function_ids.get(f"{tag}.*"):
        handle.class_function_id = function_id
        handle.class_function_metadata.CopyFrom(handle_of(plane, plane.functions.get(function_id)))
    return handle


def app_layout(plane: Plane, app: App) -> api_pb2.AppLayout:
    """All functions and classes of the version in production, and every object that one of them depends on."""
    layout = api_pb2.AppLayout()
    if (version := plane.apps.production(app)) is None:
        return layout
    layout.function_ids.update(version.published.function_ids)
    layout.class_ids.update(version.published.class_ids)
    # A protobuf map has another order in every process; a snapshot depends on this layout to the byte.
    functions = [plane.functions.get(one) for _, one in sorted(version.published.function_ids.items())]
    for function in functions:
        layout.objects.add(object_id=function.id, function_handle_metadata=handle_of(plane, function))
    for tag, class_id in sorted(version.published.class_ids.items()):
        layout.objects.add(object_id=class_id, class_handle_metadata=class_handle(plane, version, tag))
    _add_dependencies(plane, layout, functions)
    return layout


def _add_dependencies(plane: Plane, layout: api_pb2.AppLayout, functions: list[Function]) -> None:
    """The container hydrates what its code refers to by these ids; a handle that is not there is an error in it."""
    known = {one.object_id for one in layout.objects}
    for dependency in (one for function in functions for one in function.definition.object_dependencies):
        if dependency.object_id in known:
            continue
        known.add(dependency.object_id)
        added = layout.objects.add(object_id=dependency.object_id)
        if dependency.object_id.startswith("vo-"):
            added.volume_metadata.CopyFrom(plane.volumes.metadata(dependency.object_id))
