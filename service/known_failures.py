"""Data: the failures of containers that are known, each with its cause, its remedy and whether another start helps.

What names a cause stands before what only names an effect: the first row that fits is taken.
"""

from __future__ import annotations

import re

from service.failure_kinds import Kind, Moment, Retry


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_GPU_IS_FULL = _words(
    r"CUDA out of memory",
    r"cudaMalloc failed: out of memory",
    r"CUDA_ERROR_OUT_OF_MEMORY",
    r"unable to allocate CUDA\d* buffer",
    r"failed to allocate buffer for kv cache",
    r"Please try to (increase|decrease|reduce) --mem-fraction-static",
)
_MEMORY_IS_FULL = _words(r"ran out of memory", r"OOMKilled", r"Out of memory: Killed process", r"\bMemoryError\b")
_KILLED = frozenset({137})
_SEGMENTATION_FAULT = frozenset({139})
_LOAD, _SNAPSHOT, _RESTORE = (frozenset({moment}) for moment in Moment)

CATALOGUE = (
    Kind(
        "libgomp",
        Retry.NEVER,
        "The image lacks OpenMP, which runtime and slim images have not.",
        "Set image.apt: [libgomp1].",
        _words(r"libgomp\.so\.1: cannot open shared object file"),
    ),
    Kind(
        "cuda-libraries",
        Retry.NEVER,
        "The image lacks the CUDA runtime or cuBLAS.",
        'Set image.base to a runtime image, such as "nvidia/cuda:12.4.1-runtime-ubuntu22.04".',
        _words(r"lib(cudart|cublas|cublasLt|cudnn|nvrtc|curand)\.so[.\d]*: cannot open shared object file"),
    ),
    Kind(
        "shared-library",
        Retry.NEVER,
        "The image lacks a library that the engine loads.",
        "Add the Debian package that has it to image.apt.",
        _words(r"\.so[.\d]*: cannot open shared object file"),
    ),
    Kind(
        "module",
        Retry.NEVER,
        "The image lacks a Python package.",
        "Add it to image.pip, with its exact version.",
        _words(r"ModuleNotFoundError: No module named", r"^No module named "),
    ),
    Kind(
        "certificates",
        Retry.NEVER,
        "A certificate was not trusted: the image has no certificates, or a proxy is in between with its own.",
        "Add ca-certificates to image.apt, or the proxy's certificate to the image; never turn the check off.",
        _words(r"CERTIFICATE_VERIFY_FAILED", r"certificate verify failed", r"SSL certificate problem"),
    ),
    Kind(
        "gated",
        Retry.NEVER,
        "The Hub does not give these weights to whoever asks: they are gated, private or not there.",
        "Agree to the terms on the model's page, and name a Secret with HF_TOKEN in weights.token_secret.",
        _words(r"GatedRepoError", r"Cannot access gated repo", r"RepositoryNotFoundError", r"40[13] Client Error"),
    ),
    Kind(
        "tcp-store",
        Retry.NEVER,
        "A connection of torch's TCPStore was held across a snapshot, and is dead after it.",
        "Let the engine use 127.0.0.1 (host, and the address of torch.distributed): only that one is still there.",
        _words(r"TCPStore.*(Broken pipe|Connection reset|failed on SocketImpl)"),
    ),
    Kind(
        "download",
        Retry.AGAIN,
        "A download broke off, or its server could not be reached.",
        "If it stays so, look at the address and at the server's status.",
        _words(
            r"Max retries exceeded with url",
            r"Temporary failure in name resolution|Name or service not known",
            r"\b(IncompleteRead|ChunkedEncodingError|LocalEntryNotFoundError|ReadTimeoutError|RemoteProtocolError)\b",
            r"\b(429|50[0234]) (Client|Server) Error",
            r"peer closed connection without sending complete message body",
        ),
    ),
    Kind(
        "disk",
        Retry.NEVER,
        "The disk is full.",
        "Put the weights on a Volume (weights.place: volume), or free some space on a machine of your own.",
        _words(r"No space left on device"),
    ),
    Kind(
        "no-weights",
        Retry.NEVER,
        "There are no weights where the engine looks for them.",
        "Look at weights.files and weights.place; `pulumi up --refresh` puts back what a Volume has lost.",
        _words(r"were the weights put there\?"),
    ),
    Kind(
        "weights",
        Retry.NEVER,
        "The file of weights is cut off, or is none that the engine reads.",
        "Download it again, and compare its size and hash.",
        _words(
            r"invalid magic characters",
            r"data is not within the file bounds, model is corrupted or incomplete",
            r"SafetensorError|MetadataIncompleteBuffer|InvalidHeaderDeserialization",
            r"gguf_init\w*: (failed to read|this GGUF file is version)",
            r"llama_model_loader: failed to load model from",
        ),
    ),
    Kind(
        "other-driver",
        Retry.REBUILD,
        "The snapshot was taken under another driver than the one that it is restored under.",
        "A snapshot of this machine's own is taken at the next cold start.",
        _words(r"driver/library version mismatch", r"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", r"driver version is insuff"),
        moments=_RESTORE,
    ),
    Kind(
        "driver",
        Retry.NEVER,
        "The GPU's driver is older than the CUDA that the packages are built for, or another than its own library.",
        "Take packages and a base image for an older CUDA, which every newer driver runs.",
        _words(
            r"NVIDIA driver on your system is too old",
            r"CUDA driver version is insufficient for CUDA runtime version",
            r"driver/library version mismatch",
            r"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
            r"forward compatibility was attempted on non supported HW",
        ),
    ),
    Kind(
        "architecture",
        Retry.NEVER,
        "The packages hold no code for this type of GPU.",
        "Take packages that are built for it, or another type of GPU.",
        _words(r"no kernel image is available for execution on the device"),
    ),
    Kind(
        "gpu-handle",
        Retry.NEVER,
        "A process held an open handle of the GPU that no snapshot can hold, as TorchInductor's compile workers do.",
        'Set TORCHINDUCTOR_COMPILE_THREADS to "1", and let no helper process start after CUDA.',
        _words(
            r"nvproxy\.\w+ is not saveable",
            r"Can't save pma with non-MemoryFile of type \*nvproxy",
            r"can't save with live nvproxy clients",
            r"Can't dump file \d+ of that type \[\w+\] \(chr (195|50\d):\d+\)",
        ),
    ),
    Kind(
        "undumpable",
        Retry.NEVER,
        "A process held an io_uring or a userfaultfd, which no snapshot can hold.",
        "Turn it off in the library that opens it (UV_USE_IO_URING=0), or set snapshot.enabled: false.",
        _words(
            r"Can't dump file .* anon_inode:\[(io_uring|userfaultfd)\]",
            r"Can't retrieve FDs from socket",  # the kernel hands no io_uring over to CRIU
        ),
    ),
    Kind(
        "open-connection",
        Retry.NEVER,
        "A connection to one of the container's own processes was open, which no snapshot can hold.",
        "Nothing may ask the engine while it is warmed up: look for a client or a health check of your own.",
        _words(r"connections to port \d+ are open, and a snapshot holds none"),
    ),
    Kind(
        "gpu-restore",
        Retry.REBUILD,
        "The GPU's memory could not be restored.",
        "The container starts cold instead, and takes another snapshot.",
        _words(r"GPU memory snapshot restore failed", r"Container runtime GPU memory restore failed"),
        frozenset({222}),
    ),
    Kind(
        "volume-file",
        Retry.REBUILD,
        "A file that the snapshot has open is no longer there: it was deleted, changed or never committed.",
        "Put it back, or let another snapshot be taken; commit a Volume before the snapshot, reload it after.",
        _words(
            r"failed to complete restore for filesystem",
            r"Can't open file .* on restore",
            r"File .* has bad size",
            r"No such file or directory",
            r"FileNotFoundError",
            r"Stale file handle",
        ),
        moments=_RESTORE,
    ),
    Kind(
        "gpu-memory-at-load",
        Retry.NEVER,
        "The GPU's memory is too small for the weights and the KV cache that is asked for.",
        "Ask for a GPU with more memory, a shorter context or a smaller quantisation.",
        _GPU_IS_FULL,
        moments=_LOAD,
    ),
    Kind(
        "gpu-memory-at-snapshot",
        Retry.NEVER,
        "The GPU's memory was full while the snapshot was taken.",
        "Release more before it (the KV cache first), or ask for a GPU with more memory.",
        _GPU_IS_FULL,
        moments=_SNAPSHOT,
    ),
    Kind(
        "gpu-memory-at-restore",
        Retry.AGAIN,
        "The GPU's memory was not free when the container was restored.",
        "If it stays so, something else holds it: ask for a GPU with more memory.",
        _GPU_IS_FULL,
        moments=_RESTORE,
    ),
    Kind(
        "memory-at-load",
        Retry.NEVER,
        "The container was killed while it loaded: its memory is too small for the weights on their way.",
        "Raise memory above the size of the weights.",
        _MEMORY_IS_FULL,
        _KILLED,
        _LOAD,
    ),
    Kind(
        "memory-at-snapshot",
        Retry.NEVER,
        "The container was killed while its snapshot was taken, which holds the GPU's memory too for that time.",
        'Raise memory by the size of the weights, and set TORCHINDUCTOR_COMPILE_THREADS to "1".',
        _MEMORY_IS_FULL,
        _KILLED,
        _SNAPSHOT,
    ),
    Kind(
        "memory-at-restore",
        Retry.NEVER,
        "The container was killed while it was restored: its memory is too small for what the snapshot holds.",
        "Raise memory, or keep the weights out of the snapshot (snapshot.weights: outside).",
        _MEMORY_IS_FULL,
        _KILLED,
        _RESTORE,
    ),
    Kind(
        "segfault-at-restore",
        Retry.REBUILD,
        "The container crashed when it was restored: handles of CUDA did not fit the place (modal-client issue 4132).",
        "It starts cold instead and takes another snapshot. If that crashes too, set snapshot.enabled: false.",
        _words(r"SIGSEGV", r"segmentation fault"),
        _SEGMENTATION_FAULT,
        _RESTORE,
    ),
    Kind(
        "child-gpu-state",
        Retry.REBUILD,
        "A process came back without its state on the GPU: the snapshot does not hold that of every child.",
        "If another snapshot is no better, use an engine that runs in the container's own process.",
        _words(
            r"CUDA error: (unknown error|initialization error|context is destroyed|invalid device context)",
            r"CUDA error: an illegal memory access",
            r"CUDA_ERROR_(INVALID_CONTEXT|CONTEXT_IS_DESTROYED|NOT_INITIALIZED|DEINITIALIZED)",
        ),
        moments=_RESTORE,
    ),
    Kind(
        "restore",
        Retry.REBUILD,
        "The snapshot could not be restored.",
        "The container starts cold instead, and takes another one.",
        _words(r"failed to restore container from snapshot", r"The memory snapshot was bad"),
    ),
    Kind(
        "instructions",
        Retry.NEVER,
        "The packages are built for another kind of processor.",
        "Take packages that are built for all of them (llama.cpp: GGML_NATIVE=OFF, GGML_CPU_ALL_VARIANTS=ON).",
        _words(r"SIGILL", r"Illegal instruction"),
        frozenset({132}),
    ),
    Kind(
        "segfault",
        Retry.NEVER,
        "The container crashed in native code before there was a snapshot.",
        "Look at its last lines; another version of the engine's library may do better.",
        _words(r"SIGSEGV", r"segmentation fault"),
        _SEGMENTATION_FAULT,
    ),
    Kind(
        "child",
        Retry.NEVER,
        "A process that the engine had started has died.",
        "Its last lines stand above, and say why.",
        _words(
            r"Received sigquit from a child process",
            r"child process (terminated|died|exited|has ended)",
            r"process pool (is not usable anymore|was terminated abruptly)",
            r"server process has (terminated|ended|died)",
            r" ended with (exit code \d+|SIG[A-Z]+)\. Its last lines:",
        ),
    ),
    Kind(
        "start-up-timeout",
        Retry.NEVER,
        "The container was not ready in the time that a start may take.",
        "Bake the weights into the image or keep the JIT caches on a Volume, so that a start takes less.",
        _words(r"not ready within its start-up timeout", r" was not ready after [\d.]+ s\."),
    ),
)
