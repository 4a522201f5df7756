"""A TCP proxy for tests in which a server fails: cut, refuse, stall, delay."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self

from tests.support.ports import free_port
from tests.support.time_scale import scaled

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST, as a crash does


class Proxy:
    """Forwards connections at ``port`` to ``target``, in its own thread.

    Use it as a context manager, or ``start`` and ``close`` it.
    """

    def __init__(
        self,
        target_port: int,
        target_host: str = "127.0.0.1",
        *,
        host: str = "127.0.0.1",
        listener: Callable[[int], socket.socket] | None = None,
    ) -> None:
        """:param host: the address to listen on.
        :param listener: creates the socket that listens at ``host`` and the port, for example in another
            network namespace.
        """
        self.host, self.port = host, free_port()
        self._listener = listener or (lambda port: socket.create_server((host, port)))
        self.target = (target_host, target_port)
        self._delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self.refuse()
        self._run(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(scaled(10))
        self._loop.close()

    def through(self, url: str) -> str:
        """Return ``url`` with the proxy in place of its target."""
        address = f"{self.target[0]}:{self.target[1]}"
        if address not in url:
            raise ValueError(f"{url} does not lead to {address}")
        return url.replace(address, f"{self.host}:{self.port}")

    @property
    def connections(self) -> int:
        return len(self._writers) // 2

    def cut(self) -> None:
        """Reset every open connection; new ones are still accepted."""
        self._run(self._cut())

    def refuse(self) -> None:
        """Refuse new connections, as if no server ran, and reset the open ones."""
        self._run(self._refuse())

    def accept(self) -> None:
        """Accept connections again."""
        self._run(self._accept())

    def stall(self) -> None:
        """Keep connections open and forward nothing, as an unplugged cable does; ``flow`` ends it, and no
        byte is lost.
        """
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        self._loop.call_soon_threadsafe(self._flowing.set)

    def delay(self, seconds: float) -> None:
        """Delay each chunk (up to 64 KiB) in both directions by ``seconds``; 0 ends it."""
        self._delay = seconds

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(scaled(10))

    async def _accept(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, sock=self._listener(self.port))

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        for writer in list(self._writers):
            self._reset(writer)
        await asyncio.sleep(0)

    async def _end_tasks(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
        self._writers.discard(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            onward_reader, onward_writer = await asyncio.open_connection(*self.target)
        except OSError:
            self._reset(writer)
            self._tasks.discard(task)
            return
        self._writers.add(onward_writer)
        try:
            await asyncio.gather(self._pump(reader, onward_writer), self._pump(onward_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # one side closed the connection, or the proxy closes; both ends are closed below
        finally:
            self._reset(writer)
            self._reset(onward_writer)
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._flowing.wait()
            writer.write(chunk)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
