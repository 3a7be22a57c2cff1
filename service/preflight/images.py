"""Rules about the image: what an engine misses in it, and what does not belong there."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from service.preflight.rule import Machine, Rule, Severity, Violation
from service.recipe import DEBIAN_SLIM, package
from spec.gpu import asks_for_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spec import ServiceSpec

_NEEDS_OPENMP = {"llama-cpp-python"}
"""Packages whose libraries load libgomp.so.1, which no slim or runtime image has."""
_HAS_OPENMP = {"libgomp1", "gcc", "g++", "build-essential"}
_OTHER_SYSTEMS = re.compile(r"(^|/)(alpine|busybox|scratch|distroless)\b|-alpine")
_PINNED = re.compile(r"===?\s*[^*]+$|\s@\s|@[0-9a-f]{40}$|\.whl$|^-")
"""name==1.2.3, name @ address, a commit, a wheel; what begins with a hyphen is no package."""
_SECRETS = re.compile(r"hf_\w{20,}|sk-[\w-]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|a[ks]-\w{20,}|AKIA[A-Z\d]{16}")
"""Hugging Face, OpenAI and its like, GitHub, Modal, AWS."""
_SECRET_NAMES = re.compile(r"(TOKEN|API_?KEY|SECRET|PASSWORD|CREDENTIALS)$")
_NO_SECRET = re.compile(r"|\d+|true|false|/.*", re.IGNORECASE)
"""What such a variable may well hold: a number of tokens, a file."""
_TURNED_OFF = {
    "PYTHONHTTPSVERIFY": {"0"},
    "NODE_TLS_REJECT_UNAUTHORIZED": {"0"},
    "GIT_SSL_NO_VERIFY": {"1", "true"},
    "REQUESTS_CA_BUNDLE": {""},
    "CURL_CA_BUNDLE": {""},
    "SSL_CERT_FILE": {""},
}
"""Variables, and the values with which certificates are not looked at any more."""
_UNCHECKED = re.compile(
    r"\bcurl\b.*\s(-\w*k|--insecure)\b|--no-check-certificate|--trusted-host|sslverify[ =]false|PIP_TRUSTED_HOST",
    re.IGNORECASE,
)


def openmp_is_there(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """llama.cpp's threads are OpenMP's.

    Slim and runtime images lack its library, and the container ends with "libgomp.so.1: cannot open shared object
    file".
    """
    engine, image = service.engine, service.image
    needs = _NEEDS_OPENMP & {package(one) for one in (*engine.REQUIREMENTS, *image.pip)}
    if needs and not _HAS_OPENMP & {*engine.APT, *image.apt}:
        yield Violation(f"{', '.join(sorted(needs))} needs libgomp1, and the image has none.")


def files_are_there(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """They are read on the machine that deploys."""
    for place, file in service.image.files.items():
        if not Path(file).is_file() or not os.access(file, os.R_OK):
            yield Violation(
                f'"{file}" is no file in {Path.cwd()} that this user may read.', where=f"image.files.{place}"
            )


def cuda_is_there(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """The engine's libraries load libcudart and libcublas from the image.

    A `base` image of CUDA has no cuBLAS, and an image that is not of CUDA has neither.
    """
    if not (asks_for_gpu(service.gpu) and service.engine.uses_gpu and service.engine.CUDA_FROM_IMAGE):
        return
    base = service.base
    if base == DEBIAN_SLIM or re.search(r"cuda:.*-base\b", base):
        yield Violation(f'"{base}" has no cuBLAS, which {service.engine.kind} loads on a GPU.')


def no_tools_without_need(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """A `devel` image of CUDA is about 1.5 GB larger than `runtime`, and so is every first start on a machine.

    It is needed only where something is compiled for the GPU in the container.
    """
    if re.search(r"-devel\b", service.base) and not service.engine.COMPILES_CUDA:
        yield Violation(f'"{service.base}" carries a tool chain, and {service.engine.kind} compiles nothing.')


def wheels_run(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Engines' packages are built for glibc, and Debian packages are installed with apt. Other systems have neither."""
    if _OTHER_SYSTEMS.search(service.base):
        yield Violation(f'"{service.base}" has neither apt nor glibc.')


def base_is_pinned(service: ServiceSpec, _machine: Machine) -> Iterator[Violation]:
    """A tag that moves builds another image one day, under the same recipe: nobody sees the change, and no diff."""
    base = service.base
    name, _, tag = base.rpartition("/")[2].partition(":")
    if base != DEBIAN_SLIM and "@sha256:" not in base and tag in {"", "latest"}:
        yield Violation(f'"{base}" is whatever {name} is on the day when it is built.')


def packages_are_pinned(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """The recipe's text is the image's identity.

    A package without its exact version is another one every week, under the same identity.
    """
    loose = [one for one in service.image.pip if not _PINNED.search(one.split(";")[0].strip())]
    if loose:
        yield Violation(f"{', '.join(loose)}: no exact version.")


def no_secrets(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """What stands in a stack file is in version control, in Pulumi's state and in every layer of the image."""
    for name, value in service.image.env.items():
        if _SECRETS.search(value) or (_SECRET_NAMES.search(name.upper()) and not _NO_SECRET.fullmatch(value)):
            yield Violation("its value looks like a token, which would be in the image.", where=f"image.env.{name}")
    for line in service.image.run:
        if _SECRETS.search(line):
            yield Violation("a command holds what looks like a token, which would be in the image.", where="image.run")


def certificates_are_checked(service: ServiceSpec, machine: Machine) -> Iterator[Violation]:
    """Whoever sits between the container and the internet can put other weights or code into it.

    On a machine of one's own, behind a proxy of one's own, that may be wanted.
    """
    if machine.local:
        return
    for name, value in service.image.env.items():
        if value.lower() in _TURNED_OFF.get(name, ()) or name == "PIP_TRUSTED_HOST":
            yield Violation(f'"{value}" turns the check of certificates off.', where=f"image.env.{name}")
    for line in filter(_UNCHECKED.search, (*service.image.run, *service.image.pip)):
        yield Violation(f'"{line}" turns the check of certificates off.', where="image.run")


RULES = (
    Rule(
        "CS024",
        Severity.ERROR,
        "image.apt",
        "OpenMP for llama.cpp",
        openmp_is_there,
        "Add libgomp1.",
    ),
    Rule(
        "CS025",
        Severity.ERROR,
        "image.base",
        "cuBLAS for an engine that loads it from the image",
        cuda_is_there,
        'Take a runtime image, such as "nvidia/cuda:12.4.1-runtime-ubuntu22.04".',
    ),
    Rule(
        "CS026",
        Severity.WARNING,
        "image.base",
        "no tool chain without a need",
        no_tools_without_need,
        "Take the runtime image of the same version, or silence this rule with what is compiled.",
    ),
    Rule(
        "CS027",
        Severity.ERROR,
        "image.base",
        "a base that packages run on",
        wheels_run,
        "Take debian-slim, or a Debian or Ubuntu image.",
    ),
    Rule(
        "CS028",
        Severity.WARNING,
        "image.base",
        "a base that stays what it is",
        base_is_pinned,
        "Write its tag, or its digest (@sha256:...).",
    ),
    Rule(
        "CS029",
        Severity.WARNING,
        "image.pip",
        "packages of an exact version",
        packages_are_pinned,
        "Write name==1.2.3.",
    ),
    Rule(
        "CS030",
        Severity.ERROR,
        "image.env",
        "no secrets in the recipe",
        no_secrets,
        "Put it into a Modal Secret, and revoke it if the file was ever committed.",
    ),
    Rule(
        "CS031",
        Severity.ERROR,
        "image.env",
        "certificates that are checked",
        certificates_are_checked,
        "Take it out, and add the authority's certificate to the image where one is missing.",
    ),
    Rule(
        "CS043",
        Severity.ERROR,
        "image.files",
        "files for the image that are there",
        files_are_there,
        "Give the path of each file.",
    ),
)
