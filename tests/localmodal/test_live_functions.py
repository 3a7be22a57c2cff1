"""Which functions count as live: their snapshots are kept."""

from modal_proto import api_pb2

from localmodal.apps.functions import Functions
from localmodal.store import Store


def test_functions_of_every_app_that_was_not_stopped_are_live(tmp_path):
    store = Store(tmp_path / "state.db")
    store.write("INSERT INTO environments (id, name, web_suffix, created_at) VALUES ('en-1', 'main', '', 0)")
    states = {"ap-deployed": api_pb2.APP_STATE_DEPLOYED, "ap-stopped": api_pb2.APP_STATE_STOPPED}
    for app_id, state in states.items():
        store.write(
            "INSERT INTO apps (id, environment, name, description, state, created_at) VALUES (?, 'main', '', '', ?, 0)",
            app_id,
            state,
        )
    functions = Functions(store)
    live, _ = (functions.new_id(app_id) for app_id in states)
    assert functions.live() == {live}
