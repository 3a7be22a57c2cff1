"""What a container's last lines and its exit code say, in the words of those who wrote them."""

from __future__ import annotations

import ctypes.util
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from service.failure_kinds import Moment, Retry
from service.failures import Patience, explained, recognise
from service.known_failures import CATALOGUE

SNAPSHOT = "Creating GPU memory snapshot for Function."
RESTORE = "Restoring Function from memory snapshot."
"""As the service writes them."""

LINES = [
    ("libgomp", ["OSError: libgomp.so.1: cannot open shared object file: No such file or directory"]),
    (
        "libgomp",
        [
            "RuntimeError: Failed to load shared library '/usr/local/lib/python3.11/site-packages/llama_cpp/lib/"
            "libllama.so': libgomp.so.1: cannot open shared object file: No such file or directory"
        ],
    ),
    ("cuda-libraries", ["ImportError: libcublas.so.12: cannot open shared object file: No such file or directory"]),
    (
        "shared-library",
        ["ImportError: libnuma.so.1: cannot open shared object file: No such file or directory"],
    ),
    ("module", ["ModuleNotFoundError: No module named 'llama_cpp'"]),
    (
        "certificates",
        [
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get "
            "local issuer certificate (_ssl.c:1006)"
        ],
    ),
    ("certificates", ["curl: (60) SSL certificate problem: self-signed certificate in certificate chain"]),
    (
        "gated",
        [
            "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-66f4b037-1bf3)",
            "Cannot access gated repo for url https://huggingface.co/black-forest-labs/FLUX.1-dev/resolve/main/x.",
        ],
    ),
    (
        "tcp-store",
        [
            RESTORE,
            "[rank0]:[W510 09:16:08.466112605 TCPStore.cpp:106] [c10d] sendBytes failed on SocketImpl(fd=62, "
            "addr=[::ffff:172.20.14.147]:54761, remote=[::ffff:172.20.14.147]:46989): Broken pipe",
        ],
    ),
    (
        "tcp-store",
        [
            "[W1206 19:45:43.875072000 TCPStore.cpp:125] [c10d] recvValue failed on SocketImpl(fd=26, "
            "addr=[::26.26.26.1]:50817, remote=[::ffff:26.26.26.1]:50810): Connection reset by peer"
        ],
    ),
    (
        "download",
        [
            "urllib3.exceptions.MaxRetryError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries "
            "exceeded with url: /unsloth/GLM-4.7-Flash-GGUF/resolve/main/model.gguf"
        ],
    ),
    (
        "download",
        ["httpx.RemoteProtocolError: peer closed connection without sending complete message body (incomplete read)"],
    ),
    ("download", ["socket.gaierror: [Errno -3] Temporary failure in name resolution"]),
    ("download", ["huggingface_hub.errors.HfHubHTTPError: 503 Server Error: Service Unavailable for url: https://x"]),
    ("disk", ["OSError: [Errno 28] No space left on device: '/weights/model.gguf.part'"]),
    ("weights", ["gguf_init_from_reader: invalid magic characters: 'vers', expected 'GGUF'"]),
    (
        "weights",
        [
            "llama_model_load: error loading model: tensor 'blk.3.ffn_up.weight' data is not within the file bounds, "
            "model is corrupted or incomplete"
        ],
    ),
    ("weights", ["safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer"]),
    (
        "other-driver",
        [RESTORE, "Failed to initialize NVML: Driver/library version mismatch"],
    ),
    (
        "driver",
        ["RuntimeError: The NVIDIA driver on your system is too old (found version 12080). Please update your GPU"],
    ),
    ("driver", ["CUDA error: CUDA driver version is insufficient for CUDA runtime version"]),
    ("architecture", ["torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device"]),
    (
        "gpu-handle",
        [
            SNAPSHOT,
            'checkpoint failed: checkpointing container "sglang": encoding error: nvproxy.frontendFD is not saveable',
        ],
    ),
    (
        "gpu-handle",
        [SNAPSHOT, "encoding error: Can't save pma with non-MemoryFile of type *nvproxy.frontendFDMemmapFile:"],
    ),
    ("gpu-handle", ["Error (criu/files-ext.c:98): Can't dump file 36 of that type [20666] (chr 195:255)"]),
    (
        "undumpable",
        ["Error (criu/files-ext.c:94): Can't dump file 3 of that type [600] (anon anon_inode:[userfaultfd])"],
    ),
    ("undumpable", ["Error (criu/parasite-syscall.c:280): Can't retrieve FDs from socket"]),
    (
        "gpu-restore",
        [
            RESTORE,
            "GPU memory snapshot restore failed; retrying task without snapshot. Error: Container runtime GPU memory "
            "restore failed: 'error'",
        ],
    ),
    (
        "volume-file",
        [
            RESTORE,
            "failed to load kernel: vfs.CompleteRestore() failed: failed to complete restore for filesystem type "
            '"9p": failed to re-create deleted file "root/.cache/vllm/x.so": file exists',
        ],
    ),
    (
        "volume-file",
        [
            RESTORE,
            "Error (criu/files-reg.c:2345): Can't open file cache/triton.so on restore: No such file or directory",
        ],
    ),
    (
        "gpu-memory-at-load",
        [
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 13285.50 MiB on device 0: cudaMalloc failed: out "
            "of memory"
        ],
    ),
    (
        "gpu-memory-at-load",
        [
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of "
            "44.39 GiB of which 17.31 MiB is free."
        ],
    ),
    ("gpu-memory-at-load", ["RuntimeError: Not enough memory. Please try to increase --mem-fraction-static."]),
    ("gpu-memory-at-snapshot", [SNAPSHOT, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."]),
    ("gpu-memory-at-restore", [RESTORE, "RuntimeError: CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY"]),
    ("memory-at-load", ["Memory cgroup out of memory: Killed process 4021 (python) total-vm:48211864kB"]),
    ("memory-at-load", ["The container did not start: it ran out of memory (raise memory= of the function)."]),
    ("memory-at-snapshot", [SNAPSHOT, "Runner terminated, exit code: 137."]),
    ("memory-at-restore", [RESTORE, "Runner terminated, exit code: 137."]),
    ("segfault-at-restore", [RESTORE, "Runner segmentation fault (SIGSEGV), exit code: 139."]),
    (
        "segfault-at-restore",
        [
            "Transient snapshot error: failed to restore container from snapshot with exit code 139. Will retry with "
            "no snapshots."
        ],
    ),
    (
        "segfault-at-restore",
        [
            "Transient snapshot error: failed to restore container from snapshot: it was killed by signal 11. Will "
            "retry with no snapshots."
        ],
    ),
    ("child-gpu-state", [RESTORE, "RuntimeError: CUDA error: initialization error"]),
    ("child-gpu-state", [RESTORE, "torch.AcceleratorError: CUDA error: an illegal memory access was encountered"]),
    ("restore", ["The memory snapshot was bad: image/pages-1.img is not as it was written. This start is cold."]),
    ("instructions", ["The container did not start: it was killed by signal 4."]),
    ("segfault", ["Fatal Python error: Segmentation fault"]),
    ("child", ["Received sigquit from a child process. It usually means the child failed."]),
    (
        "child",
        [
            "concurrent.futures.process.BrokenProcessPool: A child process terminated abruptly, the process pool is "
            "not usable anymore"
        ],
    ),
    ("child", ["engines.child.ChildError: llama-server ended with exit code 1. Its last lines:"]),
    ("memory-at-load", ["engines.child.ChildError: llama-server ended with SIGKILL. Its last lines:"]),
    ("no-weights", ["WeightsError: /weights/x.gguf: there is no such file in the image; were the weights put there?"]),
    (
        "open-connection",
        ["engines.child.ChildError: sglang: connections to port 8000 are open, and a snapshot holds none"],
    ),
    ("start-up-timeout", ["engines.child.ChildError: llama-server was not ready after 600 s. It does not answer."]),
    ("start-up-timeout", ["Container ta-1 is ended: it was not ready within its start-up timeout of 1200s."]),
]


@pytest.mark.parametrize(("name", "lines"), LINES, ids=[name for name, _ in LINES])
def test_a_failure_is_recognised_in_a_log_that_says_more(name: str, lines: list[str]) -> None:
    known = recognise(["coldsnap.container: loading", *lines, "the end"])
    assert known is not None
    assert known.kind.name == name


def test_every_failure_is_tried() -> None:
    assert {name for name, _ in LINES} == {kind.name for kind in CATALOGUE}


def test_every_failure_has_a_name_of_its_own_a_cause_and_a_remedy() -> None:
    assert len({kind.name for kind in CATALOGUE}) == len(CATALOGUE)
    for kind in CATALOGUE:
        assert kind.cause.endswith("."), kind.name
        assert kind.remedy.endswith("."), kind.name


@pytest.mark.parametrize(
    ("code", "name"), [(139, "segfault"), (-11, "segfault"), (137, "memory-at-load"), (132, "instructions")]
)
def test_an_exit_code_alone_says_something(code: int, name: str) -> None:
    known = recognise([], code)
    assert known is not None
    assert known.kind.name == name


@pytest.mark.parametrize(
    ("code", "name"), [(139, "segfault-at-restore"), (137, "memory-at-restore"), (222, "gpu-restore")]
)
def test_an_exit_code_says_something_else_after_a_restore(code: int, name: str) -> None:
    known = recognise([SNAPSHOT, RESTORE], code)
    assert known is not None
    assert (known.kind.name, known.moment) == (name, Moment.RESTORE)


def test_a_cause_comes_before_its_effects() -> None:
    """The container that misses a library ends with exit code 1, and the parent reports a dead child."""
    known = recognise(["Received sigquit from a child process.", "libgomp.so.1: cannot open shared object file"], 1)
    assert known is not None
    assert known.kind.name == "libgomp"


def test_weights_that_found_no_room_are_not_called_broken() -> None:
    lines = [
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000 MiB on device 0: cudaMalloc failed: out of memory",
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
        "llama_model_load_from_file_impl: failed to load model",
        "ValueError: Failed to load model from file: /usr/local/share/weights/model.gguf",
    ]
    known = recognise(lines, 1)
    assert known is not None
    assert known.kind.name == "gpu-memory-at-load"


@pytest.mark.parametrize("code", [None, 0, 1])
def test_a_log_without_a_failure_tells_of_none(code: int | None) -> None:
    lines = [
        SNAPSHOT,
        "Snapshot created. Restoring Function from memory snapshot.",
        RESTORE,
        "llama_context: n_ctx = 4096",
    ]
    assert recognise(lines, code) is None


def test_a_missing_file_says_nothing_of_a_snapshot_before_there_is_one() -> None:
    assert recognise(["FileNotFoundError: [Errno 2] No such file or directory: 'x'", SNAPSHOT]) is None


def test_an_error_is_told_with_its_cause_and_its_remedy() -> None:
    assert explained("OSError: libgomp.so.1: cannot open shared object file: No such file or directory") == (
        "OSError: libgomp.so.1: cannot open shared object file: No such file or directory The image lacks OpenMP, "
        "which runtime and slim images have not. Set image.apt: [libgomp1]."
    )


def test_an_unknown_error_is_told_as_it_is() -> None:
    assert explained("ValueError: no such thing") == "ValueError: no such thing"


def bears(lines: list[str]) -> list[bool]:
    """Whether the same failure is put up with, the first to the fifth time."""
    known, patience = recognise(lines), Patience()
    assert known is not None
    return [patience.bears(known) for _ in range(5)]


def test_what_may_pass_is_tried_again_three_times() -> None:
    assert bears(["Temporary failure in name resolution"]) == [True, True, True, False, False]


def test_a_snapshot_that_crashes_is_built_again_once() -> None:
    assert bears([RESTORE, "Runner segmentation fault (SIGSEGV), exit code: 139."]) == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_what_is_missing_in_the_image_is_not_tried_again() -> None:
    assert not any(bears(["libgomp.so.1: cannot open shared object file"]))


def test_each_failure_has_a_patience_of_its_own() -> None:
    patience = Patience()
    crash, lost = recognise([RESTORE, "exit code: 139"]), recognise([RESTORE, "FileNotFoundError: cache/x.so"])
    assert crash is not None
    assert lost is not None
    assert (crash.kind.retry, lost.kind.retry) == (Retry.REBUILD, Retry.REBUILD)
    assert [patience.bears(crash), patience.bears(lost), patience.bears(crash)] == [True, True, False]


# -- real processes


def ended(code: str) -> tuple[list[str], int]:
    """The last lines and the exit code of a Python process."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True, check=False
    )
    return done.stderr.splitlines(), done.returncode


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import ctypes; ctypes.string_at(0)", "segfault"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "segfault"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "instructions"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory-at-load"),
        ("import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28,) * 2); bytes(1 << 30)", "memory-at-load"),
        ("import llama_cpp_of_another_name", "module"),
        ("import ctypes; ctypes.CDLL('libcublas.so.12')", "cuda-libraries"),
        (
            "import os; from concurrent.futures import ProcessPoolExecutor as P\n"
            "with P(1) as pool: pool.submit(os._exit, 3).result()",
            "child",
        ),
        (
            "import urllib.request as r; r.urlopen('http://nowhere.invalid')",
            "download",
        ),
    ],
)
def test_a_process_that_really_ends_so_is_recognised(code: str, name: str) -> None:
    if name == "cuda-libraries" and ctypes.util.find_library("cublas"):
        pytest.skip("this machine has cuBLAS")
    lines, exit_code = ended(code)
    known = recognise(lines, exit_code)
    assert known is not None, lines
    assert known.kind.name == name, lines


@pytest.mark.parametrize("content", [b"GGUF and no more", b"version https://git-lfs.github.com/spec/v1"])
def test_weights_that_llama_cpp_really_cannot_read_are_recognised(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    lines, code = ended(f"import llama_cpp; llama_cpp.Llama({str(file)!r})")
    known = recognise(lines, code)
    assert known is not None, lines
    assert known.kind.name == "weights"


@pytest.fixture
def untrusted(tmp_path: Path) -> Path:
    """A certificate that nobody has signed, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    file = tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([*made, "-keyout", file, "-out", tmp_path / "c.pem"], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + (tmp_path / "c.pem").read_bytes())
    return file


def meet_one(server: socket.socket) -> None:
    """A client that does not trust the certificate hangs up."""
    with suppress(ssl.SSLError, ConnectionError):
        server.accept()


def test_a_server_whose_certificate_nobody_knows_is_recognised(untrusted: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(untrusted)
    with socket.create_server(("127.0.0.1", 0)) as plain, context.wrap_socket(plain, server_side=True) as server:
        threading.Thread(target=meet_one, args=[server], daemon=True).start()
        address = f"https://127.0.0.1:{server.getsockname()[1]}"
        lines, code = ended(f"import urllib.request as r; r.urlopen({address!r})")
    known = recognise(lines, code)
    assert known is not None, lines
    assert known.kind.name == "certificates"


def test_llama_cpp_without_openmp_is_recognised(tmp_path: Path) -> None:
    """In a view of this machine in which that one library is not there."""
    library = ctypes.util.find_library("gomp")
    if os.geteuid() or library is None or shutil.which("unshare") is None:
        pytest.skip("needs root, unshare and a libgomp to hide")
    place = re.search(rf"{re.escape(library)} .*=> (\S+)", subprocess.check_output(["ldconfig", "-p"], text=True))
    assert place is not None
    folder, hidden = Path(place[1]).resolve().parent, tmp_path / "hidden"
    hidden.mkdir()
    os.mknod(hidden / library, stat.S_IFCHR, 0)  # overlayfs takes such a device for a file that was deleted
    view = f"mount -t overlay overlay -o lowerdir={hidden}:{folder} {folder}"
    command = f"{view} && exec {sys.executable} -c 'import llama_cpp'"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", command], capture_output=True, text=True, check=False)
    if "mount:" in done.stderr:
        pytest.skip(f"no overlay here: {done.stderr.strip()}")
    known = recognise(done.stderr.splitlines(), done.returncode)
    assert known is not None, done.stderr
    assert known.kind.name == "libgomp"
