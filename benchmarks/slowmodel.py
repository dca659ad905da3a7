"""A model for benchmarks: answers any chat request after a while with one edit of one number, each time another."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json

NUMBERS = itertools.count(1)


def answer(body: bytes) -> bytes:
    """An edit of the line that the prompt shows last as a number."""
    prompt = json.loads(body)["messages"][-1]["content"]
    shown = prompt[prompt.rindex("numbers.json\n```") :]
    old = shown.split("\n")[3]
    new = f" {next(NUMBERS)}.5,"
    text = f"numbers.json\n<<<<<<< SEARCH\n[\n{old}\n=======\n[\n{new}\n>>>>>>> REPLACE\n"
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": 40, "total_tokens": 40 + len(prompt) // 4}
    document = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "bench",
        "choices": [choice],
        "usage": usage,
    }
    return json.dumps(document).encode()


async def serve(latency: float) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                data = answer(await reader.readexactly(length))
                await asyncio.sleep(latency)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(f"content-length: {len(data)}\r\n\r\n".encode() + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0, limit=1 << 22, backlog=1024)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--latency", type=float, default=2.0)
    asyncio.run(serve(options.parse_args().latency))
