#!/usr/bin/env python3
"""Measures the gate against nginx as a bare reverse proxy and against the upstream itself, in one run; the gate three times: as it
is, with its guards off ("unguarded"), and with hard limits on organization, project and key, rate limits, and a spend alert ("limited").

For each: requests a second, latency percentiles, CPU microseconds per request of the process under test, errors, and
the CPU as a ratio to nginx's. One core for the proxy under test, others for the load and the upstream where there are
enough. wrk sends the same chat request of 1 kB to all. Results go to standard output and bench-results/.

Every request is another one, which the guards have not read before. Settings (environment): BENCH_SECONDS (8),
BENCH_CONNECTIONS (32), BENCH_ROUNDS (3); BENCH_FRESH=0 sends the same again and again.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "32"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
UPSTREAM, NGINX, GATE, UNGUARDED, LIMITED = 19100, 19101, 19102, 19103, 19104
TICKS = os.sysconf("SC_CLK_TCK")

# Where FRESH, each request has another number here, so that the guards have to read it and remember nothing.
NUMBER = "4711-number"
FRESH = os.environ.get("BENCH_FRESH", "1") == "1"
BODY = json.dumps({
    "model": "gpt-4o-mini", "temperature": 0.2, "max_tokens": 64,
    "messages": [
        {"role": "system", "content": "You write for a tenants' association. Keep to two or three short sentences, in plain words, and say so where "
         "something is not certain. The office is open on weekdays from nine to noon; the caretaker answers the phone at any time when "
         "water or heating fails."},
        {"role": "user", "content": "Please write a notice for the stairwell. On Tuesday the water will be off from eight to eleven, because a valve "
         "in the cellar is being replaced. Everybody should fill a few bottles the evening before, and let the taps run for a minute "
         "afterwards, until no more air comes out. The plumber is Mr Okafor, his order has the number " + NUMBER + ", and he needs to get into the two "
         "ground floor flats for about a quarter of an hour each. The families Brandt and Silva have been told already, so thank them."},
    ],
})


def cores():
    """Cores for (proxy under test, upstream, load)."""
    count = os.cpu_count() or 1
    return (0, 1 % count, ",".join(str(core) for core in range(2, count)) or str(1 % count))


def wait_for(port):
    """Waits until something listens."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def family(pid):
    """A process and its children."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [pid, *map(int, children)]


def cpu_seconds(pid):
    """User and system time of a process with its threads and children."""
    total = 0
    for member in family(pid):
        fields = pathlib.Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def start(command, core, **options):
    """Starts a process pinned to a core."""
    return subprocess.Popen(["taskset", "-c", str(core), *command], **options)


def nginx(folder, core):
    """nginx with one worker, keep-alive on both sides, no log."""
    config = folder / "nginx.conf"
    config.write_text(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream up {{ server 127.0.0.1:{UPSTREAM}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{NGINX} reuseport; location / {{ proxy_pass http://up; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_buffering off; }} }} }}
""")
    return start(["nginx", "-c", str(config), "-p", str(folder)], core, stderr=subprocess.DEVNULL)


def gate(folder, core, port):
    """The gate with one worker; its request log is written to a file."""
    folder.mkdir()
    config = folder / "sallyport.toml"
    config.write_text("workers = 1\n")
    environment = {**os.environ, "SALLYPORT_UPSTREAM_KEY": "sk-bench", "SALLYPORT_UPSTREAM_URL": f"http://127.0.0.1:{UPSTREAM}/v1"}
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "sallyport"
    command = [str(target), "serve", "--config", str(config), "--data", str(folder / "data"),
               "--listen", f"127.0.0.1:{port}", "--bootstrap-json", str(folder / "boot.json")]
    log = open(folder / "requests.log", "w", encoding="utf-8")
    return start(command, core, env=environment, stdout=log, stderr=subprocess.DEVNULL)


def post(boot, path, body):
    """A call of the gate's administration."""
    request = urllib.request.Request(f"{boot['url']}/v1/{path}", json.dumps(body).encode(), method="POST", headers={
        "Authorization": f"Bearer {boot['admin_key']}", "Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).read()


def unguard(boot):
    """Turns the guards of all channels off."""
    post(boot, f"sallyport/projects/{boot['project_id']}/guards", {channel: {"mode": "off"} for channel in ("system", "user", "untrusted")})


def limit(boot):
    """Sets limits that are never reached, so that all of their work is done for each request."""
    project = boot["project_id"]
    key = json.loads(urllib.request.urlopen(urllib.request.Request(
        f"{boot['url']}/v1/organization/projects/{project}/api_keys", headers={"Authorization": f"Bearer {boot['admin_key']}"}),
        timeout=10).read())["data"][0]["id"]
    month = {"threshold_amount": 100_000_000, "currency": "USD", "interval": "month"}
    post(boot, "organization/spend_limit", month)
    post(boot, f"organization/projects/{project}/spend_limit", month)
    post(boot, f"organization/projects/{project}/spend_alerts", {**month, "notification_channel": {"type": "email", "recipients": ["a@example.com"]}})
    post(boot, "sallyport/limits", {"scope": {"kind": "key", "key_id": key}, "period": "day", "amount": "1000000"})
    post(boot, f"organization/projects/{project}/rate_limits/rl-gpt-4o-mini", {
        "max_requests_per_1_minute": 1_000_000_000, "max_tokens_per_1_minute": 1_000_000_000_000})


# Another number for each request, of every run.
VARY = f"""
local before, after = wrk.body:match("^(.*){NUMBER.replace('-', '%-')}(.*)$")
local count = os.time() % 1000000 * 1000
request = function()
  count = count + 1
  return wrk.format(nil, nil, nil, before .. string.format("%09d", count * 7919 % 1000000007) .. after)
end
"""


def load(port, key, core, script, stream):
    """One wrk run: (requests, seconds, errors, percentiles in ms)."""
    body = BODY[:-1] + ', "stream": true}' if stream else BODY
    script.write_text(f"""
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.body = {json.dumps(body)}
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
{VARY if FRESH else ""}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %.3f %.3f %.3f\\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    latency:percentile(99.9) / 1000))
end
""")
    command = ["taskset", "-c", core, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", output)
    requests, micros, errors = (int(found[at]) for at in (1, 2, 3))
    return requests, micros / 1e6, errors, [float(found[at]) for at in (4, 5, 6)]


def main():
    """Runs all rounds and prints the table."""
    one, two, rest = cores()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-bench-"))
    upstream_binary = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "scriptable-upstream"
    processes = {
        "upstream": start([str(upstream_binary), "--listen", f"127.0.0.1:{UPSTREAM}", "--no-record"], two, stdout=subprocess.DEVNULL),
    }
    lines = []
    try:
        wait_for(UPSTREAM)
        processes["nginx"] = nginx(folder, one)
        keys = {"upstream": "sk-bench", "nginx": "sk-bench"}
        for name, port, prepare in (("gate", GATE, None), ("unguarded", UNGUARDED, unguard), ("limited", LIMITED, limit)):
            processes[name] = gate(folder / name, one, port)
            wait_for(port)
            boot = json.loads((folder / name / "boot.json").read_text())
            keys[name] = boot["project_key"]
            if prepare:
                prepare(boot)
        wait_for(NGINX)
        for stream in (False, True):
            lines += table(processes, keys, rest, folder, stream)
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for process in processes.values():
            process.wait(timeout=40)
        shutil.rmtree(folder, ignore_errors=True)
    results = ROOT / "bench-results"
    results.mkdir(exist_ok=True)
    (results / "latest.txt").write_text("\n".join(lines) + "\n")


def table(processes, keys, load_cores, folder, stream):
    """Measures all in turn, round by round, and prints medians."""
    ports = {"upstream": UPSTREAM, "nginx": NGINX, "gate": GATE, "unguarded": UNGUARDED, "limited": LIMITED}
    seen = {name: [] for name in ports}
    for round_number in range(ROUNDS):
        for name, port in ports.items():
            print(f"  {'stream' if stream else 'whole'}: round {round_number + 1} of {ROUNDS}, {name} …", file=sys.stderr)
            before = cpu_seconds(processes[name].pid)
            requests, seconds, errors, latency = load(port, keys[name], load_cores, folder / "post.lua", stream)
            used = cpu_seconds(processes[name].pid) - before
            seen[name].append((requests / seconds, used * 1e6 / max(requests, 1), errors, latency))
    what = "20 events" if stream else "one JSON answer"
    what += ", every request another" if FRESH else ""
    lines = [f"chat request of {len(BODY)} bytes, {what}, {CONNECTIONS} connections, {ROUNDS} x {SECONDS} s, one core for the proxy",
             f"{'':10}{'requests/s':>12}{'CPU us/req':>12}{'ratio':>8}{'p50 ms':>9}{'p99 ms':>9}{'p99.9 ms':>10}{'errors':>8}"]
    base = statistics.median(cpu for _, cpu, _, _ in seen["nginx"])
    for name, rounds in seen.items():
        rate, cpu = (statistics.median(one[at] for one in rounds) for at in (0, 1))
        p50, p99, p999 = (statistics.median(one[3][at] for one in rounds) for at in (0, 1, 2))
        errors = sum(one[2] for one in rounds)
        lines.append(f"{name:10}{rate:12.0f}{cpu:12.1f}{cpu / base:8.2f}{p50:9.2f}{p99:9.2f}{p999:10.2f}{errors:8}")
    for name in ("gate", "unguarded", "limited"):
        ratios = [gate[1] / nginx[1] for gate, nginx in zip(seen[name], seen["nginx"])]
        lines.append(f"{name}/nginx by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    for what, more, less in (("limits", "limited", "gate"), ("guards", "gate", "unguarded")):
        added = [one[1] - other[1] for one, other in zip(seen[more], seen[less])]
        lines.append(f"{what} add, CPU us by round: {', '.join(f'{micros:.1f}' for micros in added)}")
    print("\n" + "\n".join(lines) + "\n")
    return [*lines, ""]


if __name__ == "__main__":
    main()
