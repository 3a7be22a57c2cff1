"""What the app's parts are called, for who looks them up in a deployed app; in sync with `engines.app`.

`engines.app` itself is imported only where COLDSNAP_SPEC says which service it is.
"""

SERVICE = "Service"
TWIN = "Twin"
WEB = "web"
