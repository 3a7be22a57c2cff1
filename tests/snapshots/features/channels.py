"""Sockets, pipes, terminals, and what waits for them."""

import fcntl
import os
import select
import socket
import struct
import termios

from features.blocks import pattern
from features.registry import feature


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
def netlink_and_udp_sockets():
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    netlink.bind((0, 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 8125))
    yield
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"datagram", ("127.0.0.1", 8125))
    assert udp.recv(100) == b"datagram"
