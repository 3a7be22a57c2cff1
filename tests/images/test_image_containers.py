"""Layers of containers: what lies over this machine's root, and what of this machine does not shine through."""

import asyncio
import json
import sys

import pytest
from modal_proto import api_pb2
from workshop import PLAIN, SERIES

from localmodal.images.pythons import python_of_series, pythons
from localmodal.objects.named import Kind, Wish


async def test_this_machines_own_python_packages_are_invisible(containers):
    image = await containers.build(*PLAIN)
    seen = json.loads(await containers.python(image, "import json, sys; print(json.dumps(sys.path))"))
    assert not [path for path in seen if "dist-packages" in path or ".pyenv" in path]
    assert await containers.shell(image, "ls /usr/local/bin") == await containers.shell(
        image, "cd /usr/local/bin; ls pip pip3 python python3 python3.*"
    )


async def test_a_python_from_a_home_folder_works_although_home_folders_are_hidden(containers):
    hidden = [python for python in await pythons() if not python.in_every_container and python.rank >= (3, 10)]
    if not hidden:
        pytest.skip("every Python of this machine lies in /usr")
    python = await python_of_series(max(hidden, key=lambda python: python.rank).series)
    image = await containers.build(f"FROM python:{python.series}-slim", "RUN python -m pip install --no-deps idna")
    program = "import ctypes, ssl, sqlite3, idna, sys, sysconfig; print(sys.prefix, sysconfig.get_path('include'))"
    assert await containers.python(image, program) == f"/usr/local /usr/local/include/python{python.series}"
    flags = await containers.python(image, "import sysconfig; print(sysconfig.get_config_vars())")
    assert str(python.prefix) not in flags


async def test_debians_own_python_serves_as_well_and_its_packages_stay_out(containers, monkeypatch, tmp_path):
    if not (version := await debians_python()):
        pytest.skip("this machine has no /usr/bin/python3")
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    for name, value in {"PATH": "/usr/bin", "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    lines = (f"FROM python:{version}", "RUN python -m pip install --no-deps idna && uname > /usr/local/share/debians")
    image = await containers.build(*lines)
    program = (
        "import idna, json, site, ssl, sys; print(json.dumps([sys.prefix, sys.base_prefix, site.getsitepackages()]))"
    )
    prefix, base, packages = json.loads(await containers.python(image, program))
    assert (prefix, base) == ("/usr/local", "/usr")
    assert packages[0] == f"/usr/local/lib/python{version}/site-packages"
    paths = json.loads(await containers.python(image, "import json, sys; print(json.dumps(sys.path))"))
    assert not [path for path in paths if "dist-packages" in path]


async def debians_python() -> str:
    program = "import sys; print('{}.{}'.format(*sys.version_info))"
    try:
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/python3", "-c", program, stdout=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        return ""
    return (await process.communicate())[0].decode().strip()


async def test_files_are_copied_over_symbolic_links_of_the_root(containers):
    image = await containers.build(*PLAIN, "COPY . /", files={"/lib/ours/a.txt": "text", "/bin/ours": "#!/bin/sh\n"})
    assert await containers.shell(
        image, "cat /usr/lib/ours/a.txt; test -L /lib && test -L /bin && ls /usr/bin/ours"
    ) == ("text/usr/bin/ours")


async def test_copy_sets_mode_and_owner_of_what_it_copies_alone(containers):
    image = await containers.build(
        *PLAIN,
        "RUN mkdir /d && touch /d/there",
        "COPY --chmod=750 --chown=nobody:nogroup a.txt /d/",
        "COPY --chown=7 folder /d",
        files={"a.txt": "a", "folder/b.txt": "b"},
    )
    assert await containers.shell(image, "cd /d; stat -c '%n %a %U %g' a.txt there; stat -c '%n %u:%g' b.txt") == (
        "a.txt 750 nobody 65534\nthere 644 root 0\nb.txt 7:7"
    )


async def test_copy_makes_folders_and_takes_wildcards(containers):
    files = {"one.txt": "1", "two.txt": "2", "other.md": "3"}
    image = await containers.build(*PLAIN, "COPY *.txt /new/folder/", "COPY one.txt /new/name", files=files)
    assert await containers.shell(image, "cd /new; ls folder; cat name") == "one.txt\ntwo.txt\n1"


async def test_user_applies_to_the_commands_after_it(containers):
    image = await containers.build(
        *PLAIN, "USER nobody", "RUN id -un > /tmp/who", "USER 12:34", "RUN id -u; id -g > /tmp/group"
    )
    assert await containers.shell(image, "cat /tmp/who /tmp/group") == "nobody\n34"


async def test_a_package_of_the_system_is_really_installed(containers):
    base = await containers.build(*PLAIN)
    image = await containers.build("FROM base", "RUN apt-get update", "RUN apt-get install -y hello", base=base.id)
    assert await containers.run(image, "/usr/bin/hello") == "Hello, world!"
    assert await containers.shell(base, "command -v hello || echo none") == "none"
    assert await containers.shell(image, "ls /var/cache/apt/archives/*.deb 2>/dev/null || echo none") == "none"


async def test_add_python_brings_a_python_and_leaves_the_clients_next_line_something_to_do(containers):
    mount, _ = containers.mounts.of_the_service("python-build-standalone.20230826.3.11.5-gnu")
    image = await containers.build(
        "FROM nvidia/cuda:12.4.1-runtime-ubuntu22.04",
        "COPY /python/. /usr/local",
        "RUN ln -s /usr/local/bin/python3 /usr/local/bin/python",
        context_mount_id=mount,
    )
    assert await containers.python(image, "import sys; print(sys.prefix)") == "/usr/local"


async def test_an_image_without_python_says_so_to_whoever_needs_one(containers):
    image = await containers.build("FROM debian:12", "RUN touch /there")
    config = await containers.images.config(image.id)
    assert (config.python, config.python_series) == ("", "")


async def test_mount_points_of_a_build_are_no_part_of_its_layer(containers):
    image = await containers.build(*PLAIN, "RUN echo x > /only")
    layer = (await containers.images.layers(image.id))[-1]
    assert [path.name for path in layer.iterdir()] == ["only"]


async def test_lines_that_change_no_file_add_no_layer(containers):
    base = await containers.build(*PLAIN)
    image = await containers.build("FROM base", "ENV A=1", base=base.id)
    assert image.built.layers == base.built.layers
    assert image.built.size_bytes == 0


async def test_a_deleted_file_of_a_lower_layer_stays_deleted(containers):
    base = await containers.build(*PLAIN, "RUN echo x > /file")
    image = await containers.build("FROM base", "RUN rm /file", base=base.id)
    assert await containers.shell(image, "ls /file 2>/dev/null || echo gone") == "gone"
    assert await containers.shell(base, "cat /file") == "x"


async def test_a_volume_is_there_while_the_image_is_built(containers):
    volumes = containers.images._builder.volumes
    volume = volumes.get_or_create(
        Wish.of(api_pb2.VolumeGetOrCreateRequest(deployment_name="v", object_creation_type=1)), 1
    )
    assert volume.kind is Kind.VOLUME
    mounts = [api_pb2.VolumeMount(volume_id=volume.id, mount_path="/v")]
    await containers.build(*PLAIN, "RUN echo kept > /v/file", volume_mounts=mounts)
    assert (volumes.path(volume.id) / "file").read_text() == "kept\n"


async def test_a_pip_layer_is_importable_and_its_scripts_run(containers):
    base = await containers.build(*PLAIN)
    image = await containers.build("FROM base", "RUN python -m pip install numpy", base=base.id)
    assert await containers.python(image, "import numpy; print(numpy.arange(4).sum())") == "6"
    assert (await containers.shell(image, "f2py -v")).startswith("2.")
    assert image.built.size_bytes > 10_000_000
    with pytest.raises(AssertionError, match="No module named 'numpy'"):
        await containers.python(base, "import numpy")


async def test_the_clients_layer_brings_the_client_and_lets_the_images_own_packages_come_first(containers):
    image = await containers.build(*PLAIN, "RUN python -m pip install typing_extensions==4.12.2")
    client = await containers.images.client_layer(SERIES)
    assert client == await containers.images.client_layer(SERIES)
    assert (client / "pkg/modal/__init__.py").exists()
    assert list((client / "__modal/deps").glob("grpclib-*"))
    assert list((client / "pkg/modal/__pycache__").glob(f"*.cpython-{SERIES.replace('.', '')}.pyc")), (
        "compiled once, here"
    )
    assert image.built
