"""A machine that allowed containers and does not any more, or the other way round: what was deployed goes on."""

import sys

import modal
from modal_proto import api_pb2
from real_daemon import NOBODY, needs_nobody

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def client_of(daemon) -> modal.Client:
    credentials = daemon.env["MODAL_TOKEN_ID"], daemon.env["MODAL_TOKEN_SECRET"]
    return modal.Client(daemon.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, credentials)


def deploy(client) -> str:
    """An app with one function, which tells where its image is; the image's id."""
    app = modal.App("kinds")
    image = modal.Image.from_registry(f"python:{PYTHON}-slim").run_commands("echo built > /usr/local/share/what")

    @app.function(image=image, serialized=True, name="where")
    def where():
        import pathlib  # noqa: PLC0415  # sent pickled
        import sys  # noqa: PLC0415

        return sys.prefix, (pathlib.Path(sys.prefix) / "share/what").read_text()

    app.deploy(client=client)
    return image.object_id


def test_what_was_deployed_answers_after_the_machine_has_changed(empty_home):
    needs_nobody()
    answers, images = [], set()
    for somebody in ((), NOBODY, ()):
        empty_home.somebody = somebody
        empty_home.start()
        with client_of(empty_home) as client:
            if not images:
                images.add(deploy(client))
            answers.append(modal.Function.from_name("kinds", "where", client=client).remote())
            images.add(deploy(client))
        empty_home.verb("stop")
    (image,) = images
    prefixes = ("/usr/local", f"{empty_home.paths.root}/layers/images/{image}/usr/local", "/usr/local")
    assert answers == [(prefix, "built\n") for prefix in prefixes]
