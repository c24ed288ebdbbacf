"""Bags from a web server are fetched once, and never take more disk than they may."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.bag_cache import BagCache

pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")
BYTES = 1000
LARGE = 12 << 20


class CountingHandler(SimpleHTTPRequestHandler):
    fetched: list[str]

    def do_GET(self) -> None:
        self.fetched.append(Path(self.path).name)
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a web server with bags, and the names of those that were asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    for number in range(3):
        (folder / f"drive_{number}.mcap").write_bytes(bytes([number]) * BYTES)
    (folder / "large.mcap").write_bytes(bytes(LARGE))
    fetched: list[str] = []
    handler = type("Handler", (CountingHandler,), {"fetched": fetched})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{served.server_port}", fetched
        finally:
            served.shutdown()
            thread.join()


def stored(cache: BagCache) -> int:
    return sum(file.stat().st_size for file in cache.folder.rglob("*.mcap"))


def test_a_bag_is_fetched_once(server: tuple[str, list[str]], tmp_path: Path) -> None:
    address, fetched = server
    cache = BagCache(tmp_path / "cache", 2 * BYTES)
    for _ in range(3):
        with cache.local(f"{address}/drive_1.mcap") as path:
            assert path.name == "drive_1.mcap"
            assert path.read_bytes() == bytes([1]) * BYTES
    assert fetched.count("drive_1.mcap") == 1


def test_a_local_bag_is_not_copied(tmp_path: Path) -> None:
    with BagCache(tmp_path / "cache").local(str(tmp_path / "drive.mcap")) as path:
        assert path == tmp_path / "drive.mcap"
    assert not (tmp_path / "cache").exists()


def test_the_bag_that_was_not_read_for_longest_goes(server: tuple[str, list[str]], tmp_path: Path) -> None:
    address, fetched = server
    cache = BagCache(tmp_path / "cache", 2 * BYTES)
    for number in (0, 1, 0, 2, 0, 1):
        with cache.local(f"{address}/drive_{number}.mcap"):
            assert stored(cache) <= 2 * BYTES
    assert [name for name in fetched if name.startswith("drive_")] == [f"drive_{n}.mcap" for n in (0, 1, 2, 1)]


def test_a_bag_that_somebody_reads_stays_and_the_next_one_waits(server: tuple[str, list[str]], tmp_path: Path) -> None:
    address, _ = server
    cache = BagCache(tmp_path / "cache", BYTES)
    reading, waiting, done = threading.Event(), threading.Event(), threading.Event()

    def fetch_the_other() -> None:
        reading.wait()
        with cache.local(f"{address}/drive_1.mcap", waiting.set) as path:
            assert path.exists()
            done.set()

    thread = threading.Thread(target=fetch_the_other)
    thread.start()
    with cache.local(f"{address}/drive_0.mcap") as path:
        reading.set()
        assert waiting.wait(10)
        assert path.exists() and not done.is_set()
    thread.join(10)
    assert done.is_set() and stored(cache) == BYTES


def test_a_large_bag_shows_that_it_goes_on_and_one_that_is_too_large_is_refused(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, _ = server
    beats: list[int] = []
    with BagCache(tmp_path / "cache").local(f"{address}/large.mcap", partial(beats.append, 1)) as path:
        assert path.stat().st_size == LARGE
    assert len(beats) >= 3
    small = BagCache(tmp_path / "small", BYTES)
    with pytest.raises(ZmaskError, match="more than the 0.00 GiB of the cache"), small.local(f"{address}/large.mcap"):
        pass
    with pytest.raises(ZmaskError, match="cannot be read"), small.local(f"{address}/missing.mcap"):
        pass
