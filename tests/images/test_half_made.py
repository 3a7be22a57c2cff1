"""Nothing half-made is ever used, and nothing unused is kept."""

import asyncio
import shutil

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


async def test_an_image_whose_files_are_gone_is_built_anew(tmp_path):
    home = Home(tmp_path / "local")
    lines = (*PLAIN, "RUN echo gone")
    async with open_workshop(home, "process") as workshop:
        image = await workshop.build(*lines)
        shutil.rmtree(workshop.layers / image.id)
    async with open_workshop(home, "process") as workshop:
        again = workshop.request(*lines)
        assert again.built is None
        assert (await workshop.images.wait(again.id)).built


async def test_a_deleted_image_is_built_anew_beside_the_files_of_the_old_one(tmp_path):
    async with open_workshop(Home(tmp_path / "local"), "process") as workshop:
        lines = (*PLAIN, "RUN echo deleted")
        first = await workshop.build(*lines)
        workshop.images.records.delete(first.id)
        again = await workshop.build(*lines)
        assert again.id != first.id
        assert (workshop.layers / first.id).exists()


async def test_an_image_being_built_is_not_usable_yet(processes):
    record = processes.request(*PLAIN, "RUN sleep 0.3")
    with pytest.raises(ImageError, match="is not built"):
        await processes.images.layers(record.id)
    await asyncio.wait_for(processes.images.wait(record.id), 60)
