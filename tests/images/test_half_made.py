"""Nothing half-made is ever used, and nothing unused is kept."""

import asyncio
import shutil
from tempfile import NamedTemporaryFile

import pytest
from grpclib import GRPCError
from workshop import PLAIN, open_workshop

from localmodal.home import Home
from localmodal.images.config import ImageError


@pytest.mark.parametrize("kind", ["container", "process"])
async def test_a_build_that_is_cut_off_leaves_nothing_and_is_made_again(homes, kind):
    lines = (*PLAIN, "RUN touch /usr/local/share/half; echo half; sleep 60")
    async with open_workshop(homes[kind], kind) as workshop:
        record = workshop.request(*lines)
        async for _, entry in workshop.images.follow(record.id, 0):
            if entry.text == "half\n":
                break
    async with open_workshop(homes[kind], kind) as workshop:
        assert workshop.half_made() == []
        with pytest.raises(GRPCError):
            await workshop.images.layers(record.id)
        assert workshop.images.records.find(record.id) is None


@pytest.mark.parametrize("kind", ["container", "process"])
async def test_what_a_killed_daemon_left_half_made_is_removed_at_the_next_start(homes, kind):
    async with open_workshop(homes[kind], kind) as workshop:
        image = await workshop.build(*PLAIN, "RUN touch /usr/local/share/whole")
        left = [workshop.layers / "im-left.part", workshop.layers / "im-left"]
        for folder in left:
            (folder / "usr").mkdir(parents=True)
    async with open_workshop(homes[kind], kind) as workshop:
        assert not any(folder.exists() for folder in left)
        assert (await workshop.images.layers(image.id))[-1].exists()


async def test_layers_go_with_the_last_image_that_needs_them_at_the_next_start(tmp_path):
    home = Home(tmp_path / "local")
    async with open_workshop(home, "process") as workshop:
        base = await workshop.build(*PLAIN, "RUN echo base")
        above = await workshop.build("FROM base", "RUN echo above", base=base.id)
        workshop.images.records.delete(base.id)
        folders = [workshop.layers / record.id for record in (base, above)]
        with pytest.raises(GRPCError):
            workshop.images.records.get(base.id)
    async with open_workshop(home, "process") as workshop:
        assert all(folder.exists() for folder in folders), "the image above needs both"
        workshop.images.records.delete(above.id)
        assert folders[1].exists(), "a container may still run on it"
    async with open_workshop(home, "process"):
        assert not any(folder.exists() for folder in folders)


async def test_an_image_whose_files_are_gone_is_built_anew_by_whoever_needs_it(tmp_path):
    home = Home(tmp_path / "local")
    lines = (*PLAIN, "RUN touch /usr/local/share/there")
    async with open_workshop(home, "process") as workshop:
        base = await workshop.build(*lines)
        above = await workshop.build("FROM base", "RUN touch /usr/local/share/above", base=base.id)
        shutil.rmtree(workshop.layers)
    async with open_workshop(home, "process") as workshop:
        assert workshop.images.records.get(above.id).built is None
        assert await workshop.shell(above, f"ls {workshop.layers}/{above.id}/usr/local/share") == "above\nthere"
        again = workshop.request(*lines)
        assert (again.id, again.built) == (base.id, base.built), "it was made for the one above"


async def test_containers_and_plain_processes_each_have_their_own_files_of_an_image(tmp_path):
    home = Home(tmp_path / "local")
    lines = (*PLAIN, "RUN echo x > /usr/local/share/what")
    program = "import sys; print(open(sys.prefix + '/share/what').read(), sys.prefix)"
    seen = {}
    for kind in ("container", "process", "container", "process"):
        async with open_workshop(home, kind) as workshop:
            if not seen:
                image = await workshop.build(*lines)
            began_with = workshop.images.records.get(image.id).built
            assert bool(began_with) is (kind in seen or not seen), "nothing is made twice"
            prefix = await workshop.python(image, program)
            assert seen.setdefault(kind, prefix) == prefix
            assert workshop.request(*lines).id == image.id
    assert seen["container"] == "x\n /usr/local"
    assert seen["process"] == f"x\n {home.root}/layers/images/{image.id}/usr/local"


async def test_files_that_cannot_be_made_again_are_an_error_that_says_why(tmp_path):
    home = Home(tmp_path / "local")
    with NamedTemporaryFile(dir="/var/tmp") as there:  # an image has a /tmp of its own
        async with open_workshop(home, "process") as workshop:
            image = await workshop.build(*PLAIN, f"RUN test -e {there.name}")
            shutil.rmtree(workshop.layers)
    async with open_workshop(home, "process") as workshop:
        with pytest.raises(ImageError, match=rf"image {image.id} has no files here.*line 2: RUN test -e"):
            await workshop.images.layers(image.id)
        assert workshop.half_made() == []


async def test_a_deleted_image_is_built_anew_beside_the_files_of_the_old_one(tmp_path):
    async with open_workshop(Home(tmp_path / "local"), "process") as workshop:
        lines = (*PLAIN, "RUN echo deleted")
        first = await workshop.build(*lines)
        workshop.images.records.delete(first.id)
        again = await workshop.build(*lines)
        assert again.id != first.id
        assert (workshop.layers / first.id).exists()


async def test_whoever_needs_an_image_that_is_being_built_waits_for_it(processes):
    record = processes.request(*PLAIN, "RUN sleep 0.3; touch /usr/local/share/late")
    (layer,) = await asyncio.wait_for(processes.images.layers(record.id), 60)
    assert (layer / "usr/local/share/late").exists()
