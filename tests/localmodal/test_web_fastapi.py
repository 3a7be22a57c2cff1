"""`@modal.fastapi_endpoint`, in an image that installs FastAPI as a user's does."""

from collections.abc import Iterator

import httpx
import modal
import pytest

LABEL = "fastapi"


@pytest.fixture
def endpoint(daemon, deploy, app, image) -> Iterator[httpx.Client]:
    """A client of a deployed endpoint that takes a body and a query."""

    @app.function(serialized=True, image=image.pip_install("fastapi==0.165.0"))
    @modal.fastapi_endpoint(method="POST", label=LABEL)
    def repeat(item: dict, times: int = 1) -> dict:
        return {"name": item["name"] * times}

    deploy(app)
    with httpx.Client(base_url=f"{daemon.env['COLDSNAP_HTTP_URL']}/_apps/{LABEL}", timeout=60) as client:
        yield client


def test_a_fastapi_endpoint_takes_its_body_and_query_by_type_and_answers_in_json(endpoint):
    answer = endpoint.post("/", params={"times": 2}, json={"name": "snow"})
    assert answer.json() == {"name": "snowsnow"}
    assert endpoint.post("/", json={"name": "snow"}).json() == {"name": "snow"}
    wrong = endpoint.post("/", params={"times": "many"}, json={"name": "snow"})
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["query", "times"])
    assert endpoint.get("/").status_code == 405
    assert endpoint.get("/docs").status_code == 404
