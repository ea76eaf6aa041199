"""Moves packs to or from a bucket: bucket_driver.py WHO put|get|ranges STREAMS PACKS BUCKET [NUMBER]; prints JSON.

It prints seconds, processor seconds, MiB of memory, and when it began. Of several at once each has a NUMBER of its own.

WHO is `ours`, a backend as commands open it, or `minimal`: the same requests with aiohttp alone, and the same checksum.
A put sends the same 32 MiB under each name; a get reads what a put by the same name has sent.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import resource
import secrets
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

PACK = 32 * 1024 * 1024
RANGE = 4 * 1024 * 1024  # what a pull asks for at once


def ours(task: str, streams: int, names: list[str], bucket: str, pack: bytes) -> dict[str, float]:
    """Measure a backend, called by as many threads."""
    from studio_cas.backends.opening import open_backend

    backend = open_backend(f"gs://{bucket}")
    backend.create(f"warm-{secrets.token_hex(8)}", [b"1"])  # connected, and the probe of the bucket is over

    def move(name: str) -> None:
        if task == "put":
            backend.create(name, [pack])
        else:
            step = RANGE if task == "ranges" else PACK
            if sum(len(backend.read(name, start, step)) for start in range(0, PACK, step)) != PACK:
                raise RuntimeError("a pack came short")

    with ThreadPoolExecutor(streams) as pool:
        began = before()
        list(pool.map(move, names))
        said = since(began)
    backend.close()
    return said


async def minimal(task: str, streams: int, names: list[str], bucket: str, pack: bytes) -> dict[str, float]:
    """Measure as many tasks, which do what must be done."""
    import aiohttp
    import google_crc32c

    url = os.environ["STORAGE_EMULATOR_HOST"]
    waiting = iter(names)

    async def put(session: aiohttp.ClientSession, name: str) -> None:
        text = base64.b64encode(google_crc32c.value(pack).to_bytes(4, "big")).decode()
        boundary = secrets.token_hex(16)
        about = json.dumps({"name": name, "crc32c": text})
        head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{about}\r\n--{boundary}\r\n\r\n".encode()
        body = b"".join([head, pack, f"\r\n--{boundary}--\r\n".encode()])
        query = {"uploadType": "multipart", "ifGenerationMatch": "0"}
        kind = {"Content-Type": f"multipart/related; boundary={boundary}"}
        async with session.post(f"{url}/upload/storage/v1/b/{bucket}/o", params=query, data=body, headers=kind) as said:
            answer: dict[str, Any] = await said.json()
        if answer["crc32c"] != text:
            raise RuntimeError("a pack was damaged")

    async def get(session: aiohttp.ClientSession, name: str) -> None:
        where = f"{url}/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        step = RANGE if task == "ranges" else PACK
        for start in range(0, PACK, step):
            wanted = {"Range": f"bytes={start}-{start + step - 1}"}
            async with session.get(where, params={"alt": "media"}, headers=wanted) as answer:
                if len(await answer.read()) != step:
                    raise RuntimeError("a pack came short")

    async def stream(session: aiohttp.ClientSession) -> None:
        for name in waiting:
            await (put if task == "put" else get)(session, name)

    async with aiohttp.ClientSession() as session:
        await (await session.get(f"{url}/storage/v1/b/{bucket}")).read()
        began = before()
        await asyncio.gather(*(stream(session) for _ in range(streams)))
        return since(began)


def before() -> tuple[float, float, float]:
    """Return the time, the processor time and the peak of memory until now."""
    return time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def since(began: tuple[float, float, float]) -> dict[str, float]:
    """Return seconds, processor seconds, and by how many MiB the peak of memory has grown."""
    seconds, cpu, peak = (now - then for now, then in zip(before(), began, strict=True))
    return {"seconds": seconds, "cpu": cpu, "peak": peak, "began": began[0]}


def main() -> None:
    """Do what the words say."""
    who, task, streams, packs, bucket = sys.argv[1:6]
    mine = "/".join([who, streams, *sys.argv[6:]])
    names = [f"{mine}/{number}" for number in range(int(packs))]
    pack = random.Random(1).randbytes(PACK)
    if who == "ours":
        print(json.dumps(ours(task, int(streams), names, bucket, pack)))
    else:
        print(json.dumps(asyncio.run(minimal(task, int(streams), names, bucket, pack))))


if __name__ == "__main__":
    main()
