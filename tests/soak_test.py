"""Many clients for a long time, well-behaved and otherwise, against one `tessera serve`:

    python3 tests/soak_test.py --program build/release/tessera --seconds 600

Clients ask for greedy and for seeded answers, with and without streams, of random lengths; others cancel, are killed, read
slowly, send half of a request or something that is none. Every answer must equal the one that the same request got alone
before (the server runs batch-invariant); every error must be the client's own; the server's memory and files must stay as
many; at the end nothing may be left running, and Ctrl-C must end the server with 0. Ends with 1 where any of this does not
hold. Needs nothing but Python's own library.

Clients come in rounds, and memory is read in the quiet after each: what malloc handed out and did not get back, which a leak
of a few hundred bytes in each request shows within seconds. Resident memory is printed only: it grows at first without a leak
(blocks of the cache are touched for the first time, the allocator keeps what the largest bodies that met needed), and a leak
may long hide in what the allocator kept.
"""

import argparse
import asyncio
import collections
import json
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


# MiB of memory handed out, MiB resident, open files.
Usage = collections.namedtuple("Usage", "heap resident files")


class Wrong(Exception):
    """What the server did, and should not have done."""


def request_bytes(path, body, headers=()):
    lines = [f"POST {path} HTTP/1.1", "Host: soak", "Connection: close", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def decode_chunks(data):
    text = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return text
        text, data = text + data[:length], data[length + 2 :]
    raise Wrong("a chunked answer without an end")


def parse_answer(data):
    head, _, body = data.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if b"transfer-encoding: chunked" in head.lower():
        body = decode_chunks(body)
    return status, body


def stream_text(body):
    events = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        raise Wrong(f"a stream without [DONE]: {body[-200:]!r}")
    pieces = [json.loads(event) for event in events[:-1]]
    for piece in pieces:
        if "error" in piece:
            raise Wrong(f"an error within a stream: {piece}")
    return "".join(choice["text"] for piece in pieces for choice in piece["choices"])


class Server:
    def __init__(self, program, options):
        self.errors = tempfile.TemporaryFile("w+")
        command = [program, "serve", str(ROOT / "models/tiny-math"), "--port", "0", "--dtype", "float32"]
        command += ["--batch-invariant", "--kv-cache-size", "64MiB", "--max-queued-requests", "64", *options]
        self.process = subprocess.Popen(command, stderr=self.errors)
        self.port = None
        deadline = time.monotonic() + 120
        while "  ready" not in self.messages():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start:\n{self.messages()}")
            time.sleep(0.05)
        self.port = int(self.messages().split("listening on http://127.0.0.1:")[1].split()[0])

    def messages(self):
        self.errors.seek(0)
        return self.errors.read()

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)

    async def send(self, data):
        """The whole answer to `data`: status and body; status 0 where the server closed without one."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            try:
                await writer.drain()
            except ConnectionError:
                pass  # the server may refuse before it has read everything
            try:
                answer = await asyncio.wait_for(reader.read(-1), 300)
            except ConnectionError:
                answer = b""
            return parse_answer(answer) if answer else (0, b"")
        finally:
            writer.close()

    async def get(self, path):
        reader, writer = await self.connect()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(-1), 60)
        writer.close()
        return parse_answer(answer)


class Soak:
    def __init__(self, server, seed):
        self.server = server
        self.random = random.Random(seed)
        self.counts = collections.Counter()
        self.wrong = []
        self.known = []  # (request, text)

    def questions(self, count):
        """Prompts of random lengths: some begin alike, as prompts with worked examples do."""
        lines = (ROOT / "models/tiny-math/data/test.jsonl").read_text().splitlines()
        problems = [json.loads(line) for line in lines]
        shown = [f"Question: {p['question']}\nAnswer: {p['answer']}\n\n" for p in problems[:4]]
        for i in range(count):
            examples = "".join(shown[: self.random.choice([0, 0, 1, 2, 4])])
            request = {
                "prompt": examples + f"Question: {problems[4 + i]['question']}\nAnswer:",
                "max_tokens": self.random.choice([1, 2, 8, 20, 60, 120]),
                "temperature": 0,
                "stop": ["Question:"],
            }
            if i % 4 == 0:
                request.update(temperature=1.0, top_p=0.9, seed=i)
            if i % 7 == 3:
                request.update(ignore_eos=True, stop=[])
            yield request

    async def learn(self, count):
        for request in self.questions(count):
            status, body = await self.server.send(request_bytes("/v1/completions", json.dumps(request).encode()))
            if status != 200:
                raise SystemExit(f"status {status} for a request alone: {body!r}")
            self.known.append((request, json.loads(body)["choices"][0]["text"]))

    # What clients do. Each returns what is counted.

    async def ask(self):
        request, expected = self.random.choice(self.known)
        stream = self.random.random() < 0.5
        data = request_bytes("/v1/completions", json.dumps({**request, "stream": stream}).encode())
        status, body = await self.server.send(data)
        if status == 429:
            return "refused: queue full"
        if status != 200:
            raise Wrong(f"status {status} for a good request: {body[:300]!r}")
        text = stream_text(body) if stream else json.loads(body)["choices"][0]["text"]
        if text != expected:
            raise Wrong(f"answered {text!r}, alone {expected!r}")
        return "streamed answers" if stream else "whole answers"

    async def ask_several(self):
        chosen = [self.random.choice(self.known) for _ in range(3)]
        chosen = [c for c in chosen if c[0]["temperature"] == 0 and c[0]["stop"]] or None
        if chosen is None:
            return await self.ask()
        limit = min(request["max_tokens"] for request, _ in chosen)
        request = {**chosen[0][0], "prompt": [c[0]["prompt"] for c in chosen], "max_tokens": limit}
        status, body = await self.server.send(request_bytes("/v1/completions", json.dumps(request).encode()))
        if status == 429:
            return "refused: queue full"
        if status != 200:
            raise Wrong(f"status {status} for several prompts: {body[:300]!r}")
        for choice in json.loads(body)["choices"]:
            if not chosen[choice["index"]][1].startswith(choice["text"]):
                raise Wrong(f"choice {choice['index']}: {choice['text']!r}, alone {chosen[choice['index']][1]!r}")
        return "lists of prompts"

    async def cancel(self):
        request, _ = self.random.choice(self.known)
        reader, writer = await self.server.connect()
        body = {**request, "stream": True, "max_tokens": 500, "ignore_eos": True, "stop": []}
        writer.write(request_bytes("/v1/completions", json.dumps(body).encode()))
        await writer.drain()
        for _ in range(self.random.randrange(4)):
            await asyncio.wait_for(reader.readline(), 120)
        if self.random.random() < 0.5:  # a reset instead of a polite end
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()
        return "cancelled"

    async def be_killed(self):
        request, _ = self.random.choice(self.known)
        body = json.dumps({**request, "stream": True, "max_tokens": 500, "ignore_eos": True, "stop": []})
        client = (
            "import socket,sys,time; s=socket.create_connection(('127.0.0.1',int(sys.argv[1])));"
            "s.sendall(sys.stdin.buffer.read()); s.recv(100); print('begun',flush=True); time.sleep(60)"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", client, str(self.server.port), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        process.stdin.write(request_bytes("/v1/completions", body.encode()))
        process.stdin.close()
        await asyncio.wait_for(process.stdout.readline(), 120)
        process.kill()
        await process.wait()
        return "killed with kill -9"

    async def read_slowly(self):
        request, expected = self.random.choice(self.known)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, limit=256)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        writer.write(request_bytes("/v1/completions", json.dumps({**request, "stream": True}).encode()))
        data = b""
        while piece := await asyncio.wait_for(reader.read(500), 120):
            data += piece
            await asyncio.sleep(0.005)
        writer.close()
        status, body = parse_answer(data)
        if status == 429:
            return "refused: queue full"
        if status != 200 or stream_text(body) != expected:
            raise Wrong(f"a slow reader got {status}, {body[:300]!r}")
        return "slow readers"

    async def send_half(self):
        request, _ = self.random.choice(self.known)
        data = request_bytes("/v1/completions", json.dumps(request).encode())
        _, writer = await self.server.connect()
        writer.write(data[: self.random.randrange(len(data))])
        await writer.drain()
        await asyncio.sleep(self.random.random())
        writer.close()
        return "half-sent"

    async def send_nonsense(self):
        name, data, allowed = self.random.choice(NONSENSE)
        status, body = await self.server.send(data)
        if status == 429:
            return "refused: queue full"
        if status not in allowed:
            raise Wrong(f"status {status} for {name}, expected one of {allowed}: {body[:300]!r}")
        if status >= 400 and name not in BEFORE_HTTP and not json.loads(body)["error"]["message"]:
            raise Wrong(f"no sentence for {name}: {body[:300]!r}")
        return f"nonsense: {name}"

    async def look(self):
        path = self.random.choice(["/v1/models", "/metrics", "/health", "/version", "/tokenizer_info"])
        status, _ = await self.server.get(path)
        if status != 200:
            raise Wrong(f"status {status} for {path}")
        return "looks at other paths"

    async def client(self, deadline):
        acts = [self.ask, self.ask_several, self.cancel, self.be_killed, self.read_slowly, self.send_half]
        acts += [self.send_nonsense, self.look]
        weights = [60, 5, 10, 0.3, 3, 4, 10, 4]
        while time.monotonic() < deadline and len(self.wrong) < 20:
            act = self.random.choices(acts, weights)[0]
            try:
                self.counts[await act()] += 1
            except Wrong as wrong:
                self.wrong.append(f"{act.__name__}: {wrong}")
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
                self.wrong.append(f"{act.__name__}: {type(error).__name__} {error}")

    async def run(self, seconds, clients):
        """Returns what the server uses after each round."""
        usage = []
        length = max(2, seconds / 10)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.wrong:
            deadline = time.monotonic() + length
            await asyncio.gather(*(self.client(deadline) for _ in range(clients)))
            usage.append(await self.settle())
        return usage

    async def settle(self):
        """Nothing is left running or waiting, and no block is held. Returns what the server uses then."""
        idle = ["tessera:num_requests_running", "tessera:num_requests_waiting", "tessera:kv_cache_usage_perc"]
        for _ in range(200):
            values = {}
            for line in (await self.server.get("/metrics"))[1].decode().splitlines():
                name, _, value = line.rpartition(" ")
                values[name.partition("{")[0]] = value
            left = {name: float(values[name]) for name in [*idle, "tessera:http_connections"]}
            left["tessera:http_connections"] -= 1  # this one
            if not any(left.values()):
                return Usage(
                    heap=float(values["tessera:heap_bytes"]) / 2**20,
                    resident=float(values["process_resident_memory_bytes"]) / 2**20,
                    files=int(values["process_open_fds"]),
                )
            await asyncio.sleep(0.1)
        self.wrong.append(f"after the last client there is still {left}")
        return None

    def check_usage(self, usage, growth):
        """The first round warms the server up: its caches fill, its threads and tables are made."""
        first, last = usage[0], usage[-1]
        if last.heap > first.heap + growth:
            self.wrong.append(f"memory grew by {last.heap - first.heap:.1f} MiB after the first round")
        if last.files > first.files:
            self.wrong.append(f"{last.files - first.files} more files are open than after the first round")


def completion(body):
    return request_bytes("/v1/completions", body)


GOOD = b'{"prompt": "1", "max_tokens": 1}'
NONSENSE = [
    ("an empty body", completion(b""), {400}),
    ("no JSON", completion(b"prompt=1"), {400}),
    ("cut-off JSON", completion(GOOD[:-3]), {400}),
    ("deep nesting", completion(b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), {400}),
    ("bytes that are no UTF-8", completion(b'{"prompt": "\xff\xfe\xc0\x80", "max_tokens": 1}'), {400}),
    ("10 MB of prompt", completion(b'{"prompt": "' + b"a b " * 2_500_000 + b'"}'), {400, 413}),
    ("too large a body", completion(b" " * (33 << 20)), {413, 0}),
    ("token ids out of range", completion(b'{"prompt": [1, 99999999999, -4]}'), {400}),
    ("a temperature out of range", completion(b'{"prompt": "1", "temperature": -1}'), {400}),
    ("an empty list of prompts", completion(b'{"prompt": []}'), {400}),
    ("no prompt", completion(b"{}"), {400}),
    ("another model", completion(b'{"model": "gpt-9", "prompt": "1"}'), {404}),
    ("no such path", request_bytes("/v1/complete", GOOD), {404}),
    ("no such method", b"BREW /v1/completions HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n", {405, 400, 501}),
    ("a flood of headers", request_bytes("/v1/completions", GOOD, [f"X-{i}: {'y' * 90}" for i in range(2000)]), {431, 400, 0}),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n", {400, 0}),
]
# The server may close these without a body of its own.
BEFORE_HTTP = {"no HTTP", "no such method", "a flood of headers", "too large a body"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/release/tessera"))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=48, help="different requests")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--growth", type=float, default=2, help="MiB by which memory may grow after the first round")
    parser.add_argument("options", nargs="*", help="of `tessera serve`, behind --")
    arguments = parser.parse_args()

    server = Server(arguments.program, arguments.options)
    soak = Soak(server, arguments.seed)
    try:
        asyncio.run(soak.learn(arguments.requests))
        usage = asyncio.run(soak.run(arguments.seconds, arguments.clients))
    finally:
        server.process.send_signal(signal.SIGINT)
    try:
        code = server.process.wait(60)
    except subprocess.TimeoutExpired:
        server.process.kill()
        code = "no exit at all"
    if code != 0:
        soak.wrong.append(f"the server ended with {code}:\n{server.messages()[-3000:]}")

    for name, count in sorted(soak.counts.items()):
        print(f"{count:8d}  {name}")
    usage = [u for u in usage if u is not None]
    print("after each round, MiB in use:  ", " ".join(f"{u.heap:.1f}" for u in usage))
    print("                 MiB resident: ", " ".join(f"{u.resident:.1f}" for u in usage))
    print("                 open files:   ", " ".join(f"{u.files}" for u in usage))
    if usage:
        soak.check_usage(usage, arguments.growth)
    for wrong in soak.wrong:
        print("WRONG:", wrong)
    print("FAILED" if soak.wrong else "passed")
    sys.exit(1 if soak.wrong else 0)


if __name__ == "__main__":
    main()
