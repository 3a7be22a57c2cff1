"""What nothing refers to goes, at the time that it should, and nothing else does."""

import hashlib
import os
import time
from dataclasses import dataclass, field

import pytest
from modal_proto import api_pb2

from localmodal.objects.blobs import KEPT_FOR, Blobs
from localmodal.objects.contents import GRACE, Contents
from localmodal.objects.environments import Environments
from localmodal.objects.housekeeping import clean_up
from localmodal.objects.mounts import Mounts
from localmodal.objects.named import HEARTBEAT_GRACE, Kind, Objects, Wish
from localmodal.objects.secrets import Secrets
from localmodal.objects.volumes import Volumes
from localmodal.settings import Settings, Signer
from localmodal.store import Store
from localmodal.tasks.calls import Calls
from localmodal.tasks.logs import Logs
from localmodal.tasks.tasks import RECORDS_KEPT_FOR, TaskRecords

DAY = 24 * 3600.0


@dataclass
class Functions:
    """What deployed functions refer to."""

    referenced: set[str] = field(default_factory=set)

    def dependencies(self) -> set[str]:
        return self.referenced

    def live(self) -> set[str]:
        return {"fu-live"}


@dataclass
class Launcher:
    """Who has snapshots."""

    kept: set[str] = field(default_factory=set)

    def keep_snapshots(self, function_ids: set[str]) -> None:
        self.kept = function_ids


class Parts:
    """The parts of a control plane that are cleaned up, without the rest."""

    def __init__(self, root) -> None:
        self.store = Store(root / "state.db")
        settings = Settings(self.store)
        self.objects = Objects(self.store, Environments(self.store, settings))
        self.contents = Contents(root / "contents")
        self.blobs = Blobs(self.store, self.contents)
        self.mounts = Mounts(self.store, self.contents, root / "layers")
        self.secrets = Secrets(self.store, self.objects, Signer(settings))
        self.volumes = Volumes(self.store, self.objects, root / "volumes")
        self.calls = Calls(self.store)
        self.functions = Functions()
        self.logs = Logs(root / "logs")
        self.records = TaskRecords(self.store, self.logs)
        self.launcher = Launcher()

    def put(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self.contents.put(data, sha256)
        return sha256

    def has(self, sha256: str) -> bool:
        return self.contents.path(sha256).exists()

    def age(self, *, by: float) -> None:
        """Makes everything look older."""
        for table, column in (("blobs", "created_at"), ("mounts", "used_at"), ("objects", "created_at")):
            self.store.write(f"UPDATE {table} SET {column} = {column} - ?", by)
        self.store.write("UPDATE objects SET heartbeat_at = heartbeat_at - ?", by)
        for path in self.contents._root.glob("??/*"):
            os.utime(path, (path.stat().st_mtime - by,) * 2)


@pytest.fixture
def parts(tmp_path):
    parts = Parts(tmp_path)
    yield parts
    parts.store.close()


def anonymous(creation: str) -> Wish:
    return Wish("", "", api_pb2.ObjectCreationType.Value(f"OBJECT_CREATION_TYPE_{creation}"), "ap-1")


async def test_a_file_that_nobody_made_use_of_goes_after_its_time_of_grace(parts):
    sha256 = parts.put(b"uploaded")
    await clean_up(parts)
    assert parts.has(sha256)
    parts.age(by=GRACE + 1)
    await clean_up(parts)
    assert not parts.has(sha256)


async def test_asking_whether_a_file_is_there_keeps_it_for_a_while(parts):
    sha256 = parts.put(b"uploaded")
    parts.age(by=GRACE + 1)
    assert parts.contents.has(sha256)
    await clean_up(parts)
    assert parts.has(sha256)


async def test_a_blob_keeps_its_file_until_its_time_is_over(parts):
    blob = parts.blobs.announce(parts.put(b"payload"), len(b"payload"))
    parts.age(by=KEPT_FOR - 60)
    await clean_up(parts)
    assert parts.blobs.path(blob).read_bytes() == b"payload"
    parts.age(by=120)
    await clean_up(parts)
    assert not parts.has(hashlib.sha256(b"payload").hexdigest())


async def test_a_mount_goes_with_its_layer_once_no_function_refers_to_it(parts):
    file = api_pb2.MountFile(filename="/root/app.py", sha256_hex=parts.put(b"code"))
    mount_id, _ = parts.mounts.create([file])
    layer = await parts.mounts.layer(mount_id)
    assert (layer / "root/app.py").read_bytes() == b"code"
    parts.functions.referenced = {mount_id}
    parts.age(by=2 * DAY)
    await clean_up(parts)
    assert layer.exists()
    parts.functions.referenced = set()
    await clean_up(parts)
    assert not layer.exists()
    assert not parts.has(file.sha256_hex)


async def test_a_layer_that_was_half_made_is_made_again(parts, tmp_path):
    mount_id, _ = parts.mounts.create([api_pb2.MountFile(filename="/root/app.py", sha256_hex=parts.put(b"code"))])
    half = tmp_path / "layers/new-half/root"
    half.mkdir(parents=True)
    again = Mounts(parts.store, parts.contents, tmp_path / "layers")
    assert not half.exists()
    assert ((await again.layer(mount_id)) / "root/app.py").read_bytes() == b"code"


async def test_a_nameless_secret_goes_once_no_function_refers_to_it(parts):
    secret = parts.secrets.get_or_create(anonymous("ANONYMOUS_OWNED_BY_APP"), {"KEY": "value"})
    parts.functions.referenced = {secret.id}
    parts.age(by=2 * DAY)
    await clean_up(parts)
    assert parts.secrets.environment([secret.id]) == {"KEY": "value"}
    parts.functions.referenced = set()
    await clean_up(parts)
    assert parts.secrets.keys(secret.id) == []


async def test_a_named_object_stays_however_old_it_is(parts):
    wish = Wish("named", "", api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING)
    secret = parts.secrets.get_or_create(wish, {"KEY": "value"})
    volume = parts.volumes.get_or_create(wish, api_pb2.VOLUME_FS_VERSION_V1)
    parts.age(by=1000 * DAY)
    await clean_up(parts)
    assert parts.secrets.environment([secret.id]) == {"KEY": "value"}
    assert parts.volumes.path(volume.id).exists()


async def test_an_ephemeral_object_lives_as_long_as_its_heart_beats(parts):
    volume = parts.volumes.get_or_create(anonymous("EPHEMERAL"), api_pb2.VOLUME_FS_VERSION_V2)
    folder = parts.volumes.path(volume.id)
    parts.age(by=HEARTBEAT_GRACE - 60)
    await clean_up(parts)
    assert folder.exists()
    parts.objects.keep_alive(Kind.VOLUME, volume.id)
    parts.age(by=120)
    await clean_up(parts)
    assert folder.exists()
    parts.age(by=HEARTBEAT_GRACE)
    await clean_up(parts)
    assert not folder.exists()


async def test_snapshots_of_functions_that_are_gone_are_not_kept(parts):
    await clean_up(parts)
    assert parts.launcher.kept == {"fu-live"}


async def test_a_container_is_forgotten_with_its_output_when_its_time_is_over(parts):
    def container(task_id: str, *, ended_before: float) -> None:
        parts.logs.open(task_id).system("hello")
        finished = time.time() - ended_before if ended_before else 0
        parts.store.write(
            "INSERT INTO tasks (id, app_id, function_id, enqueued_at, finished_at) VALUES (?, '', '', 0, ?)",
            *(task_id, finished),
        )

    container("ta-old", ended_before=RECORDS_KEPT_FOR + 60)
    container("ta-new", ended_before=RECORDS_KEPT_FOR - 60)
    container("ta-running", ended_before=0)
    await clean_up(parts)
    assert {record.id for record in parts.records.of_app("")} == {"ta-new", "ta-running"}
    assert not list(parts.logs.read("ta-old"))
    assert list(parts.logs.read("ta-new"))
    assert list(parts.logs.read("ta-running"))
