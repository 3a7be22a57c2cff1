"""What programs do that a snapshot must carry over: each generator sets something up, yields, and looks at it again.

Runs inside a container: `features.py NAME`. Before the yield is before the snapshot; after it is in every copy, and in
the original. Standard library only, since it runs under the machine's own Python.
"""

# ruff: noqa: SIM115  # files stay open on purpose: that is what is tested

import ctypes
import errno
import fcntl
import functools
import mmap
import multiprocessing
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

MIB = 1 << 20
BLOCK = 24 * MIB
PATTERN = bytes(range(1, 252)) * 17  # no period that divides a page
DONTNEED, HUGEPAGE = 4, 14
FEATURES = {}

libc = ctypes.CDLL(None, use_errno=True)
for name in ("malloc", "calloc", "realloc"):
    getattr(libc, name).restype = ctypes.c_void_p
libc.malloc.argtypes = (ctypes.c_size_t,)
libc.calloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
libc.realloc.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
libc.free.argtypes = (ctypes.c_void_p,)
for name in ("madvise", "mprotect"):
    getattr(libc, name).argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
for name in ("munmap", "mlock"):
    getattr(libc, name).argtypes = (ctypes.c_void_p, ctypes.c_size_t)
libc.posix_memalign.argtypes = (ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_size_t)


def feature(function):
    FEATURES[function.__name__] = function
    return function


@functools.cache
def pattern(size):
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def block(size=BLOCK):
    """A block of malloc that has a mapping of its own, full of the pattern."""
    address = libc.malloc(size)
    ctypes.memmove(address, pattern(size), size)
    return address


def holds(address, size=BLOCK):
    return ctypes.string_at(address, size) == pattern(size)


def page_in(address, offset):
    return (address + offset) & ~4095


def check(done):
    if done != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@feature
def a_large_block():
    address = block()
    yield
    assert holds(address)


@feature
def an_aligned_block():
    pointer = ctypes.c_void_p()
    check(libc.posix_memalign(ctypes.byref(pointer), 64, BLOCK))
    ctypes.memmove(pointer.value, pattern(BLOCK), BLOCK)
    yield
    assert holds(pointer.value)
    libc.free(pointer.value)


@feature
def writes_in_place():
    address = block()
    yield
    ctypes.memset(address, os.getpid() & 127, BLOCK)
    assert ctypes.string_at(address, BLOCK) == bytes([os.getpid() & 127]) * BLOCK


@feature
def a_fork_that_writes():
    address = block()
    yield
    child = os.fork()
    if not child:
        ctypes.memset(address, 9, BLOCK)
        os._exit(ctypes.string_at(address, BLOCK) != b"\t" * BLOCK)
    assert os.waitpid(child, 0)[1] == 0
    assert holds(address)


@feature
def a_block_shared_with_a_forked_child():
    address = block()
    asks, answers = multiprocessing.Pipe()
    child = os.fork()
    if not child:
        ctypes.memset(address, 5, MIB)
        answers.send("ready")
        answers.recv()
        answers.send(ctypes.string_at(address, MIB) == b"\5" * MIB and holds_from(address, MIB))
        os._exit(0)
    assert asks.recv() == "ready"
    yield
    asks.send("look")
    assert asks.recv()
    assert holds(address)


def holds_from(address, start):
    return ctypes.string_at(address + start, BLOCK - start) == pattern(BLOCK)[start:]


@feature
def mprotect_and_back():
    address = block()
    yield
    start = page_in(address, MIB)
    check(libc.mprotect(start, MIB, 1))
    assert holds(address)
    check(libc.mprotect(start, MIB, 3))
    ctypes.memset(start, 1, MIB)
    assert ctypes.string_at(start, MIB) == b"\1" * MIB


@feature
def munmap_of_the_middle():
    address = block()
    yield
    start = page_in(address, 8 * MIB)
    check(libc.munmap(start, 4 * MIB))
    before, after = start - address, start + 4 * MIB - address
    assert ctypes.string_at(address, before) == pattern(BLOCK)[:before]
    assert ctypes.string_at(address + after, BLOCK - after) == pattern(BLOCK)[after:]


@feature
def realloc_that_grows_by_mremap():
    address = block()
    yield
    address = libc.realloc(address, 5 * BLOCK)
    assert holds(address)
    ctypes.memset(address + BLOCK, 3, 4 * BLOCK)
    assert holds(address)
    address = libc.realloc(address, BLOCK)
    assert holds(address)
    libc.free(address)


@feature
def calloc_after_free():
    address = block()
    yield
    libc.free(address)
    for size in (BLOCK, BLOCK // 3, 200_000, 64):
        assert ctypes.string_at(libc.calloc(1, size), size) == bytes(size), size


@feature
def calloc_after_malloc_trim():
    kept = [block(size) for size in (BLOCK, 3000, 90_000, 2 * MIB) for _ in range(20)]
    yield

    def churn():
        for turn in range(300):
            size = (64, 1000, 30_000, 500_000, 3 * MIB)[turn % 5]
            address = libc.calloc(1, size)
            assert ctypes.string_at(address, size) == bytes(size), size
            ctypes.memset(address, 255, size)
            libc.free(address)
            if turn % 20 == 0:
                libc.malloc_trim(0)

    for address in kept[::2]:
        libc.free(address)
    run_in_threads(churn, 2)


class InThread:
    """Work in a thread of its own; `done` waits for it and fails if it did."""

    def __init__(self, work):
        self.failure = None
        self.work = work
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            self.work()
        except Exception as error:  # noqa: BLE001  # for the thread that waits
            self.failure = error

    def done(self):
        self.thread.join()
        assert self.failure is None, self.failure


def run_in_threads(work, count):
    for thread in [InThread(work) for _ in range(count)]:
        thread.done()


class SmallBlocks:
    """Malloc's blocks in the heap of the thread that makes them, each full of its own byte."""

    def __init__(self, count=30_000):
        self.blocks = {}
        for number in range(count):
            size = 24 + number * 37 % 700
            self.blocks[number] = libc.malloc(size), size
            ctypes.memset(self.blocks[number][0], number % 251, size)

    def are_whole(self):
        for number, (address, size) in self.blocks.items():
            assert ctypes.string_at(address, size) == bytes([number % 251]) * size, number

    def free(self, numbers):
        for number in numbers:
            libc.free(self.blocks.pop(number)[0])


def shrink_and_grow(small):
    """Gives memory back in the middle of the heap and at its end, and takes it again: calloc's are zeros every time."""
    small.are_whole()
    count = len(small.blocks)
    small.free(number for number in range(count // 2) if number % 50)
    libc.malloc_trim(0)
    all_zeros(4_000)
    small.free(range(count // 2, count))  # the heap's end, with which it shrinks
    libc.malloc_trim(0)
    all_zeros(40_000)
    small.are_whole()


def all_zeros(count):
    sizes = [24 + number * 101 % 900 for number in range(count)]
    blocks = [(libc.calloc(1, size), size) for size in sizes]
    for address, size in blocks:
        assert ctypes.string_at(address, size) == bytes(size), size
        ctypes.memset(address, 255, size)
    for address, _ in blocks:
        libc.free(address)


@feature
def small_blocks_in_the_main_heap():
    small = SmallBlocks()
    yield
    shrink_and_grow(small)
    shrink_and_grow(SmallBlocks())


@feature
def small_blocks_in_the_heaps_of_threads():
    """Each thread's in an arena of its own, one of them in two heaps."""
    made, goes_on = threading.Barrier(3), threading.Event()

    def work(count):
        small = SmallBlocks(count)
        made.wait()
        goes_on.wait()
        shrink_and_grow(small)
        shrink_and_grow(SmallBlocks())

    threads = [InThread(functools.partial(work, count)) for count in (30_000, 220_000)]
    made.wait()
    yield
    goes_on.set()
    for thread in threads:
        thread.done()


@feature
def madv_dontneed_of_the_programs_own_mapping():
    """Zeros, as jemalloc, mimalloc, Go and V8 rely on: such memory must not have become a file's."""
    own = mmap.mmap(-1, BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    own[:] = pattern(BLOCK)
    also = block()
    yield
    assert own[:] == pattern(BLOCK)
    own.madvise(mmap.MADV_DONTNEED)
    assert own[:] == bytes(BLOCK)
    assert holds(also)


@feature
def huge_pages():
    address = block()
    own = mmap.mmap(-1, BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in (page_in(address, MIB), ctypes.addressof(ctypes.c_char.from_buffer(own))):
        if libc.madvise(start, 16 * MIB, HUGEPAGE):
            assert ctypes.get_errno() == errno.EINVAL  # a kernel without them
    own[:] = pattern(BLOCK)
    yield
    assert holds(address)
    assert own[:] == pattern(BLOCK)


@feature
def locked_memory():
    address = block(64 * 1024)
    check(libc.mlock(page_in(address, 8192), 16384))
    large = block()
    yield
    assert holds(address, 64 * 1024)
    assert holds(large)


@feature
def threads():
    counts = [0] * 4
    stop = threading.Event()

    def count(index):
        while not stop.is_set():
            counts[index] += 1
            time.sleep(0.001)

    running = [threading.Thread(target=count, args=(index,)) for index in range(4)]
    for thread in running:
        thread.start()
    yield
    before = list(counts)
    time.sleep(0.2)
    stop.set()
    for thread in running:
        thread.join()
    assert all(now > then for now, then in zip(counts, before, strict=True))


@feature
def deleted_and_temporary_files():
    with tempfile.TemporaryFile() as unnamed, tempfile.NamedTemporaryFile() as named:
        unnamed.write(pattern(3 * MIB))
        unnamed.flush()
        named.write(b"named")
        named.flush()
        deleted = Path("/tmp/deleted").open("w+b")
        deleted.write(b"deleted")
        deleted.flush()
        Path("/tmp/deleted").unlink()
        yield
        for file, content in ((unnamed, pattern(3 * MIB)), (named, b"named"), (deleted, b"deleted")):
            file.seek(0)
            assert file.read() == content
        assert Path(named.name).read_bytes() == b"named"


@feature
def what_was_written_changed_and_removed():
    Path("/etc/made-here").write_text("made")
    Path("/etc/passwd").write_text("changed")
    Path("/etc/group").unlink()
    Path("/tmp/folder").mkdir()
    Path("/tmp/folder/link").symlink_to("/etc/made-here")
    yield
    assert Path("/tmp/folder/link").read_text() == "made"
    assert Path("/etc/passwd").read_text() == "changed"
    assert not Path("/etc/group").exists()
    Path("/etc/made-here").write_text("again")


@feature
def a_growing_log():
    log = Path("/tmp/log").open("a", buffering=1)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            log.write("line\n")

    writer = threading.Thread(target=write)
    writer.start()
    yield
    time.sleep(0.1)
    stop.set()
    writer.join()
    assert set(Path("/tmp/log").read_text().splitlines()) == {"line"}


@feature
def memfd():
    handle = os.memfd_create("ours")
    os.truncate(handle, 2 * MIB)
    shared = mmap.mmap(handle, 2 * MIB)
    shared[:] = pattern(2 * MIB)
    yield
    assert shared[:] == pattern(2 * MIB)
    assert os.pread(handle, MIB, 0) == pattern(MIB)


@feature
def named_shared_memory():
    memory = shared_memory("/dev/shm/ours")
    yield
    again = shared_memory("/dev/shm/ours", new=False)
    assert again[:] == pattern(4 * MIB)
    again[0] = 255
    assert memory[0] == 255


@feature
def unlinked_shared_memory():
    memory = shared_memory("/dev/shm/gone")
    Path("/dev/shm/gone").unlink()
    yield
    assert memory[:] == pattern(4 * MIB)


def shared_memory(path, *, new=True):
    """As shm_open(3) makes it."""
    with Path(path).open("w+b" if new else "r+b") as file:
        os.truncate(path, 4 * MIB)
        memory = mmap.mmap(file.fileno(), 4 * MIB)
    if new:
        memory[:] = pattern(4 * MIB)
    return memory


@feature
def files_in_dev_shm():
    Path("/dev/shm/data").write_bytes(pattern(MIB))
    yield
    assert Path("/dev/shm/data").read_bytes() == pattern(MIB)


@feature
def worker_processes():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        yield
        assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))


@feature
def a_daemon():
    read, write = os.pipe()
    if not os.fork():
        os.setsid()
        if not os.fork():
            while True:
                os.write(write, b"alive")
                time.sleep(0.01)
        os._exit(0)
    os.wait()
    yield
    for _ in range(50):
        assert os.read(read, 5) == b"alive"


@feature
def inotify():
    Path("/tmp/watched").mkdir()
    handle = libc.inotify_init()
    assert libc.inotify_add_watch(handle, b"/tmp/watched", 0x100) >= 0  # IN_CREATE
    yield
    Path("/tmp/watched/new").touch()
    assert b"new" in os.read(handle, 4096)


@feature
def interval_timer():
    ticks = []
    signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    yield
    before = len(ticks)
    time.sleep(0.2)
    assert len(ticks) > before
    signal.setitimer(signal.ITIMER_REAL, 0)


@feature
def timerfd():
    """Not yet run out: CRIU restores one that has, and that nobody has read since, as one that is not set."""
    handle = libc.timerfd_create(time.CLOCK_MONOTONIC, 0)
    check(libc.timerfd_settime(handle, 0, struct.pack("4q", 0, 20_000_000, 4, 0), None))
    yield
    for _ in range(3):
        assert struct.unpack("Q", os.read(handle, 8))[0] >= 1


@feature
def listening_sockets():
    tcp = socket.create_server(("0.0.0.0", 8123))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind("/tmp/listener")
    unix.listen()
    yield
    for listener, address in ((tcp, ("127.0.0.1", 8123)), (tcp, ("10.77.0.2", 8123)), (unix, "/tmp/listener")):
        client = socket.socket(listener.family)
        client.connect(address)
        served, _ = listener.accept()
        served.sendall(b"hello")
        assert client.recv(5) == b"hello"


@feature
def a_connection_within_the_container():
    listener = socket.create_server(("127.0.0.1", 8124))
    client = socket.create_connection(("127.0.0.1", 8124))
    served, _ = listener.accept()
    client.sendall(b"before")
    yield
    assert served.recv(6) == b"before"
    served.sendall(b"after")
    assert client.recv(5) == b"after"


@feature
def pipes_and_socket_pairs_with_something_in_them():
    read, write = os.pipe()
    os.write(write, pattern(1000))
    left, right = socket.socketpair()
    left.sendall(b"pair")
    yield
    assert os.read(read, 1000) == pattern(1000)
    assert right.recv(4) == b"pair"
    right.sendall(b"back")
    assert left.recv(4) == b"back"


@feature
def epoll_and_eventfd():
    handle = os.eventfd(0)
    poll = select.epoll()
    poll.register(handle, select.EPOLLIN)
    left, right = socket.socketpair()
    poll.register(right, select.EPOLLIN)
    yield
    assert poll.poll(0) == []
    os.eventfd_write(handle, 7)
    left.sendall(b"x")
    assert {descriptor for descriptor, _ in poll.poll(1)} == {handle, right.fileno()}
    assert os.eventfd_read(handle) == 7


@feature
def file_locks():
    whole, part = Path("/tmp/whole").open("w"), Path("/tmp/part").open("w")
    fcntl.flock(whole, fcntl.LOCK_EX)
    fcntl.lockf(part, fcntl.LOCK_EX)
    yield
    child = os.fork()
    if not child:
        os._exit(not (refused(fcntl.flock, "/tmp/whole") and refused(fcntl.lockf, "/tmp/part")))
    assert os.waitpid(child, 0)[1] == 0


def refused(lock, path):
    try:
        lock(Path(path).open("w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


@feature
def a_terminal():
    leader, follower = os.openpty()
    size = struct.pack("4H", 33, 77, 0, 0)
    fcntl.ioctl(follower, termios.TIOCSWINSZ, size)
    yield
    assert fcntl.ioctl(follower, termios.TIOCGWINSZ, bytes(8)) == size
    os.write(leader, b"typed\n")
    assert os.read(follower, 100) == b"typed\n"
    os.write(follower, b"shown")
    shown = b""
    while shown != b"typed\r\nshown":  # the echo first
        shown += os.read(leader, 100)


@feature
def signals_and_working_folder():
    got = []
    signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    os.kill(os.getpid(), signal.SIGUSR2)
    os.chdir("/tmp")
    os.umask(0o27)
    yield
    os.kill(os.getpid(), signal.SIGUSR1)
    assert got == [1]
    assert signal.sigpending() == {signal.SIGUSR2}
    assert Path.cwd() == Path("/tmp")
    assert os.umask(0) == 0o27


@feature
def netlink_and_udp_sockets():
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    netlink.bind((0, 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 8125))
    yield
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"datagram", ("127.0.0.1", 8125))
    assert udp.recv(100) == b"datagram"


def connected(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


def renamed_away():
    Path("/tmp/one").write_text("content")
    Path("/tmp/two").hardlink_to("/tmp/one")
    file = Path("/tmp/one").open()
    Path("/tmp/one").unlink()
    return file


REFUSED = {
    "a connection over TCP to the outside": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2]))),
    "a connection over a unix socket to the outside": lambda: connected("/run/coldsnap/api"),
    "a file whose name is gone but not its other name": renamed_away,
}


def refused_feature(name):
    """What a snapshot cannot carry over; the original goes on with it."""
    held = REFUSED[name]()
    yield
    assert held.fileno() > 2


def main(name):
    running = FEATURES[name]() if name in FEATURES else refused_feature(name)
    next(running)
    folder = Path("/run/coldsnap")
    (folder / "ready").touch()
    while not (folder / "go").exists():
        time.sleep(0.005)
    assert next(running, "done") == "done"
    os.write(1, b"as it was\n")
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
