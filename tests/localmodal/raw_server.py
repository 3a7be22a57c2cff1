"""A server that breaks the rules of HTTP, each in the way that its path names."""

import asyncio
import sys

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    b"/": OK + b"content-length: 0\r\n\r\n",
    b"/stale": OK + b"content-length: 5\r\n\r\nfresh",
    b"/silent": b"",
    b"/garbage": b"no HTTP at all\r\n\r\n",
    b"/switched": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n",
    b"/large-head": OK + b"x-large: " + b"x" * (1 << 20) + b"\r\n\r\n",
    b"/short": OK + b"content-length: 10\r\n\r\nhalf",
    b"/bad-chunk": OK + b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nno number\r\n",
    b"/until-closed": OK + b"\r\nwhole",
    b"/unasked": OK + b"content-length: 5\r\n\r\nasked" + OK + b"content-length: 7\r\n\r\nunasked",
    b"/unread": b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\n\r\ntoo large",
    b"/elsewhere": b"HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n",
}
KEPT_OPEN = {b"/stale", b"/unasked"}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    path = await answer(reader, writer)
    if path in KEPT_OPEN:
        await reader.read(1)  # whatever comes next, it meets a connection that is being closed
    elif path == b"/unread":
        await reader.read()  # closed at once, the answer would be lost with the connection
    writer.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
    writer.write(ANSWERS[path])
    await writer.drain()
    return path


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
