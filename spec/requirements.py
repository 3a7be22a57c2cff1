"""Python packages that every in-process engine's API needs in its image, pinned.

They lie in the image beside the modal client's own dependencies, and are found first.
"""

HTTP_API = ("prometheus-client==0.26.0", "pydantic==2.14.3", "starlette==1.10.0")

PROXY = ("aiohttp==3.14.5",)
"""What an engine needs besides that is a server of its own, behind a proxy."""
