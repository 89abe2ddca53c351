#!/usr/bin/env python3
"""How far a hard limit of one dollar is overshot, and how much of it can be used, in dollars that the upstream bills.

Three ways to keep a limit, each against the same scriptable upstream and the same crowd of clients:
  afterwards   admit while what is settled is below the limit, charge after the answer (simulated in front of the upstream)
  worst case   the gate: hold the worst case, then settle
  growing      the gate with `near_limit: grow`: near the limit streams hold a part and grow

The cap is far above what answers really are, as in most requests: gpt-4o's own 16,384 tokens, answers of 1 to 1,000.
Settings (environment): OVERSHOOT_CLIENTS (300), OVERSHOOT_TOKENS_MAX (16384: the cap), OVERSHOOT_ANSWER_MAX (1000).
"""

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
CLIENTS = int(os.environ.get("OVERSHOOT_CLIENTS", "300"))
TOKENS_MAX = int(os.environ.get("OVERSHOOT_TOKENS_MAX", "16384"))
ANSWER_MAX = int(os.environ.get("OVERSHOOT_ANSWER_MAX", "1000"))
# Seconds without one admitted request after which the crowd goes home: longer than the longest answer.
PATIENCE = 0.001 * ANSWER_MAX + 3
UPSTREAM, GATE = 19200, 19201
# gpt-4o: 2.5 dollars a million tokens in, 10 out; the same figures in pico-dollars a token.
PICO_IN, PICO_OUT = 2_500_000, 10_000_000
LIMIT_USD = 1
# What the upstream goes on to make, and bills, after a stream was cut; the margin that the gate is told to expect.
RUN_ON_TOKENS = 16
BODY = {"model": "gpt-4o", "max_completion_tokens": TOKENS_MAX, "stream": True, "service_tier": "default",
        "stream_options": {"include_usage": True}, "messages": [{"role": "user", "content": "Tell me a story. " * 40}]}


def call(method, url, body=None, key=None):
    """One call; its JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text.strip() else None


def wait_for(url):
    """Waits until somebody answers."""
    for _ in range(200):
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing answers at {url}")


async def post(port, key, body):
    """One POST over a connection of its own: (status, usage of the last chunk)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
                 f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        answer = bytearray()
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            piece = await reader.read(1 << 16)
            if not piece:
                break
            answer += piece
    else:
        answer = await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
    writer.close()
    status = int(head.split(b" ", 2)[1])
    at = answer.rfind(b'"usage":{')
    usage = json.JSONDecoder().raw_decode(answer[at + 8:].decode("utf-8", "replace"))[0] if at >= 0 else None
    return status, usage


def billed(url):
    """What the upstream has billed, in pico-dollars, once no call is open."""
    for _ in range(600):
        billing = call("GET", f"{url}/_billing?list=0")
        if billing["open"] == 0:
            break
        time.sleep(0.1)
    total = 0
    for row in billing["sums"]:
        total += row["quantities"].get("text_input", 0) * PICO_IN + row["quantities"].get("text_output", 0) * PICO_OUT
    return total, billing["requests"]


async def crowd(one):
    """All clients at once, until nobody was admitted for a while."""
    admitted = time.monotonic()

    async def client():
        nonlocal admitted
        while time.monotonic() - admitted < PATIENCE:
            if await one():
                await asyncio.sleep(0.5)
            else:
                admitted = time.monotonic()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))


def measure(name, port, key, admit=None):
    """One way; its row."""
    url = f"http://127.0.0.1:{UPSTREAM}"
    call("DELETE", f"{url}/_billing")
    spent = [0]

    async def one():
        if admit and not admit(spent[0]):
            return True
        status, usage = await post(port, key, BODY)
        if usage:
            spent[0] += usage["prompt_tokens"] * PICO_IN + usage["completion_tokens"] * PICO_OUT
        return status != 200
    asyncio.run(crowd(one))
    total, requests = billed(url)
    usd = total / 1e12
    print(f"{name:<12} {usd:>9.4f} {max(usd - LIMIT_USD, 0):>10.4f} {100 * min(usd, LIMIT_USD) / LIMIT_USD:>9.1f} % {requests:>9}")
    return usd


def main():
    """Runs all three."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        upstream = subprocess.Popen([str(TARGET / "scriptable-upstream"), "--listen", f"127.0.0.1:{UPSTREAM}"])
        gate = None
        try:
            wait_for(f"http://127.0.0.1:{UPSTREAM}/_billing")
            script = {"times": 1_000_000_000, "completion_tokens_range": [1, ANSWER_MAX], "piece_per_token": True, "delay_chunk_ms": 1,
                      "run_on_tokens": RUN_ON_TOKENS}
            call("POST", f"http://127.0.0.1:{UPSTREAM}/_script", script)
            environment = {**os.environ, "SALLYPORT_UPSTREAM_KEY": "sk-x", "SALLYPORT_UPSTREAM_URL": f"http://127.0.0.1:{UPSTREAM}/v1"}
            gate = subprocess.Popen([str(TARGET / "sallyport"), "serve", "--data", str(folder / "data"), "--listen", f"127.0.0.1:{GATE}",
                                     "--bootstrap-json", str(folder / "boot.json")], env=environment,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for(f"http://127.0.0.1:{GATE}/healthz")
            boot = json.loads((folder / "boot.json").read_text())
            base, admin = f"http://127.0.0.1:{GATE}/v1", boot["admin_key"]
            print(f"{CLIENTS} clients, limit {LIMIT_USD} dollar, worst case {(PICO_OUT * TOKENS_MAX) / 1e12:.3f} dollars a request")
            print(f"{'':<12} {'billed $':>9} {'over by $':>10} {'used':>11} {'requests':>9}")
            measure("afterwards", UPSTREAM, "sk-x", admit=lambda spent: spent < LIMIT_USD * 10**12)
            for way, policy in (("worst case", {"type": "reject"}), ("growing", {"type": "grow", "margin_tokens": RUN_ON_TOKENS})):
                project = call("POST", f"{base}/organization/projects", {"name": way}, admin)["id"]
                key = call("POST", f"{base}/organization/projects/{project}/api_keys", {"name": way}, admin)["value"]
                limit = {"threshold_amount": LIMIT_USD * 100, "currency": "USD", "interval": "month", "sallyport": {"near_limit": policy}}
                call("POST", f"{base}/organization/projects/{project}/spend_limit", limit, admin)
                measure(way, GATE, key)
        finally:
            for process in (gate, upstream):
                if process:
                    process.terminate()
                    process.wait()


if __name__ == "__main__":
    main()
