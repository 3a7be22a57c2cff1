"""`modal.Dict`, by the real client."""

import threading

import modal
import pytest


@pytest.fixture
def store(client):
    with modal.Dict.ephemeral(client=client) as store:
        yield store


def test_a_value_comes_back_as_it_was_put(store):
    store["answer"] = {"of": [1, 2.5, None, b"\x00"]}
    assert store["answer"] == {"of": [1, 2.5, None, b"\x00"]}


def test_a_missing_key_is_an_error_or_the_default(store):
    with pytest.raises(KeyError):
        store["missing"]
    assert store.get("missing", "default") == "default"


def test_put_leaves_what_is_there_if_asked_to(store):
    assert store.put("key", 1, skip_if_exists=True) is True
    assert store.put("key", 2, skip_if_exists=True) is False
    assert store["key"] == 1
    assert store.put("key", 3) is True
    assert store["key"] == 3


def test_pop_removes_and_returns(store):
    store["key"] = "value"
    assert store.pop("key") == "value"
    assert "key" not in store
    assert store.pop("key", "default") == "default"
    with pytest.raises(KeyError):
        store.pop("key")


def test_a_deleted_key_is_gone(store):
    store["key"] = 1
    del store["key"]
    assert store.contains("key") is False


def test_keys_values_and_items_stream_all_entries_in_order(store):
    entries = {f"key {number}": "x" * number for number in range(300)}
    store.update(entries)
    assert store.len() == 300
    assert list(store.keys()) == list(entries)
    assert list(store.values()) == list(entries.values())
    assert list(store.items()) == list(entries.items())


def test_clear_leaves_an_empty_dict(store):
    store.update({"a": 1, "b": 2})
    store.clear()
    assert store.len() == 0


def test_a_value_of_twenty_megabytes_fits(store):
    store["large"] = b"x" * 20_000_000
    assert len(store["large"]) == 20_000_000


def test_only_one_of_many_writers_creates_a_key(store):
    created = []
    writers = [
        threading.Thread(target=lambda n=n: created.append(store.put("key", n, skip_if_exists=True))) for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(created) == [False] * 7 + [True]


def test_a_named_dict_is_found_by_name_and_by_id(client, environment):
    store = modal.Dict.from_name("named", environment_name=environment, create_if_missing=True, client=client)
    store["key"] = 1
    again = modal.Dict.from_name("named", environment_name=environment, client=client)
    assert again["key"] == 1
    assert modal.Dict.from_id(store.object_id, client=client)["key"] == 1
    assert again.info().name == "named"


def test_a_dict_that_does_not_exist_is_not_found(client, environment):
    with pytest.raises(modal.exception.NotFoundError, match=f"Dict 'nowhere' not found in environment '{environment}'"):
        modal.Dict.from_name("nowhere", environment_name=environment, client=client).hydrate()


def test_creating_one_twice_is_an_error_unless_allowed(client, environment):
    create = modal.Dict.objects.create
    create("twice", environment_name=environment, client=client)
    with pytest.raises(modal.exception.AlreadyExistsError, match="Dict 'twice' already exists"):
        create("twice", environment_name=environment, client=client)
    create("twice", allow_existing=True, environment_name=environment, client=client)


def test_the_list_shows_named_ones_newest_first(client, environment):
    for name in ("first", "second", "third"):
        modal.Dict.objects.create(name, environment_name=environment, client=client)
    dicts = modal.Dict.objects
    names = [one.name for one in dicts.list(environment_name=environment, client=client)]
    assert names == ["third", "second", "first"]
    assert [one.name for one in dicts.list(environment_name=environment, client=client, max_objects=1)] == ["third"]


def test_more_names_than_one_page_holds_are_all_listed(client, environment):
    names = {f"dict-{number}" for number in range(120)}
    for name in names:
        modal.Dict.objects.create(name, environment_name=environment, client=client)
    assert {one.name for one in modal.Dict.objects.list(environment_name=environment, client=client)} == names


def test_a_deleted_dict_is_gone_with_its_entries(client, environment):
    store = modal.Dict.from_name("gone", environment_name=environment, create_if_missing=True, client=client)
    store["key"] = 1
    modal.Dict.objects.delete("gone", environment_name=environment, client=client)
    with pytest.raises(modal.exception.NotFoundError):
        store["key"]
    again = modal.Dict.from_name("gone", environment_name=environment, create_if_missing=True, client=client)
    assert again.len() == 0


def test_entries_survive_the_daemon_being_killed(daemon, client, environment):
    store = modal.Dict.from_name("kept", environment_name=environment, create_if_missing=True, client=client)
    store["key"] = "value"
    daemon.kill()
    daemon.start()
    assert store["key"] == "value"


def test_the_command_line_manages_dicts(cli):
    assert cli("dict", "create", "shelf").returncode == 0
    assert "shelf" in cli("dict", "list", "--json").stdout
    assert cli("dict", "items", "shelf", "--json").stdout.strip() == "[]"
    assert cli("dict", "clear", "shelf", "--yes").returncode == 0
    assert cli("dict", "delete", "shelf", "--yes").returncode == 0
    assert "shelf" not in cli("dict", "list", "--json").stdout
