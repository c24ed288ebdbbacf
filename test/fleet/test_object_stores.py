"""Bags in object stores, through real servers of this machine; those of Google and Azure where they are installed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.bag_cache import BagCache
from zmask_ros.fleet.bag_names import file_system, named_bags

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
BYTES = 9 << 20
LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
# Well known: the account of every emulator.
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
S3_SERVER = """
import threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
threading.Event().wait()
"""
GS_SERVER = """
from gcp_storage_emulator.server import create_server
server = create_server("127.0.0.1", 9023, in_memory=True)
print(9023, flush=True)
server.run()
"""


@dataclass(frozen=True)
class Store:
    """A server: how it is started, the environment of its clients, and what has to be installed."""

    command: list[str]
    environment: dict[str, str]
    needs: tuple[str, ...]


STORES = {
    "s3": Store(
        [sys.executable, "-c", S3_SERVER],
        {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:{port}",
        },
        ("s3fs", "moto", "flask"),
    ),
    "gs": Store(
        [sys.executable, "-c", GS_SERVER],
        {
            "STORAGE_EMULATOR_HOST": "http://127.0.0.1:{port}",
            # Otherwise it asks by gRPC, which the emulator does not speak, what kind of bucket it is.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "FSSPEC_GS_TOKEN": "anon",
            "FSSPEC_GCS_TOKEN": "anon",
        },
        ("gcsfs", "gcp_storage_emulator"),
    ),
    "az": Store(
        ["azurite-blob", "--inMemoryPersistence", "--blobPort", "0", "--skipApiVersionCheck"],
        {
            "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
            f"AccountKey={AZURE_KEY};BlobEndpoint=http://127.0.0.1:{{port}}/devstoreaccount1;"
        },
        ("adlfs",),
    ),
}


def skip_unless_installed(store: Store) -> None:
    """Look, and import nothing: libraries read the environment when they are imported."""
    for module in store.needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    if shutil.which(store.command[0]) is None:
        pytest.skip(f"{store.command[0]} is not installed")


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a bucket with bags."""
    kind, own = request.param, STORES[request.param]
    skip_unless_installed(own)
    with subprocess.Popen(own.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            # It ends the first line that has one; before, Azurite repeats what it was asked for.
            port = next(int(found[0]) for line in server.stdout if (found := re.findall(r"\b([1-9]\d{3,4})\s*$", line)))
            with pytest.MonkeyPatch.context() as patch:
                for name, value in own.environment.items():
                    patch.setenv(name, value.format(port=port))
                fsspec.config.set_conf_env(fsspec.config.conf)
                system, _ = file_system(f"{kind}://fleet")
                system.mkdir("fleet")
                system.pipe_file("fleet/clean/drive_1.mcap", bytes(range(256)) * (BYTES // 256))
                system.pipe_file("fleet/clean/deep/r/r_0.db3", b"x" * 1000)
                system.pipe_file("fleet/clean/deep/r/metadata.yaml", b"y")
                system.pipe_file("fleet/list.txt", b"clean/*.mcap")
                yield f"{kind}://fleet"
                # The next server has another port.
                system.clear_instance_cache()
        finally:
            server.kill()


def test_bags_of_a_store_are_found_and_fetched(store: str, tmp_path: Path) -> None:
    (one,) = named_bags([f"{store}/clean/*.mcap"])
    (folder,) = named_bags([f"{store}/clean/deep"])
    assert one.endswith("://fleet/clean/drive_1.mcap") and folder.endswith("://fleet/clean/deep/r")
    assert named_bags([f"{store}/list.txt"]) == [one]
    cache, beats = BagCache(tmp_path / "cache"), []
    with cache.local(one, lambda: beats.append(1)) as path:
        assert path.read_bytes() == bytes(range(256)) * (BYTES // 256)
    assert beats
    with cache.local(folder) as path:
        assert sorted(file.name for file in path.iterdir()) == ["metadata.yaml", "r_0.db3"]
    with pytest.raises(ZmaskError, match="none.mcap cannot be read"), cache.local(f"{store}/clean/none.mcap"):
        pass


@pytest.mark.parametrize("kind", LIBRARIES)
def test_without_its_library_a_store_is_refused_by_name(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = LIBRARIES[kind]
    # As if it were not installed.
    for module in (library, *(name for name in sys.modules if name.startswith(f"{library}."))):
        monkeypatch.setitem(sys.modules, module, None)
    # The name `fsspec.registry` is a mapping's, too.
    monkeypatch.setattr(sys.modules["fsspec.registry"], "_registry", {})
    monkeypatch.setattr(sys.modules["fsspec.registry"], "registry", {})
    with pytest.raises(ZmaskError, match=f"{kind}://fleet/a.*cannot be read: .*{library}"):
        named_bags([f"{kind}://fleet/a*.mcap"])


@pytest.mark.slow
def test_a_large_bag_takes_no_more_memory_than_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless_installed(STORES["s3"])
    from measure_fleet import LARGE_BYTES, MIB, fetch_from_s3

    for name in STORES["s3"].environment:
        # What it sets is taken back.
        monkeypatch.setenv(name, "")
    fetched = fetch_from_s3(tmp_path)
    assert fetched.mib == LARGE_BYTES // MIB == 300
    assert fetched.above_mib <= 64
