"""Image files keep what we do not know of, and a damaged one is named."""

import pytest

from localmodal.worker.snapshots.criu_images import (
    FILES,
    MM,
    PAGEMAP,
    ImageError,
    PagemapEntry,
    PagemapHead,
    read_image,
    write_image,
)


@pytest.fixture
def pagemap(tmp_path):
    path = tmp_path / "pagemap-1.img"
    entry = PagemapEntry(vaddr=4096, compat_nr_pages=0, flags=4, nr_pages=2)
    write_image(path, PAGEMAP, [PagemapHead(pages_id=3), entry])
    return path


async def test_an_image_that_is_read_and_written_says_the_same(bench, tmp_path):
    """CRIU's own, with all the fields that it writes and we do not know; those come last in what we write."""
    snapshot = await bench.snapshot(await bench.feature("worker_processes"))
    read = 0
    for kind, pattern in ((MM, "mm-*.img"), (PAGEMAP, "pagemap-[0-9]*.img"), (FILES, "files.img")):
        for path in (snapshot.folder / "image").glob(pattern):
            ours = tmp_path / path.name
            write_image(ours, kind, read_image(path, kind))
            assert read_image(ours, kind) == read_image(path, kind)
            assert ours.stat().st_size == path.stat().st_size
            read += 1
    assert read >= 7


def test_the_first_record_of_a_pagemap_is_its_head(pagemap):
    head, entry = read_image(pagemap, PAGEMAP)
    assert (head.pages_id, entry.vaddr, entry.nr_pages) == (3, 4096, 2)


def test_an_image_of_another_kind_is_refused(pagemap):
    with pytest.raises(ImageError, match=r"pagemap-1\.img: not a CRIU image of kind mm"):
        read_image(pagemap, MM)


@pytest.mark.parametrize("cut", [1, 3, 12])
def test_an_image_that_ends_too_early_is_refused(pagemap, cut):
    pagemap.write_bytes(pagemap.read_bytes()[:-cut])
    with pytest.raises(ImageError, match="ends in the middle of a record"):
        read_image(pagemap, PAGEMAP)


def test_a_damaged_record_is_refused(pagemap):
    pagemap.write_bytes(pagemap.read_bytes()[:12] + b"\xff" * (len(pagemap.read_bytes()) - 12))
    with pytest.raises(ImageError):
        read_image(pagemap, PAGEMAP)
