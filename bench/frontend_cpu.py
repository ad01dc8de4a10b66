#!/usr/bin/env python3
"""What a streamed request costs the frontend: CPU time of its process per request, and requests per second.

    python bench/frontend_cpu.py [--connections 4,64] [--seconds 8] [--http-threads 1]

Starts a hub, two mock workers and a frontend in mode kv on loopback, and loads them with wrk: streamed chat completions of about
720 prompt tokens (8 system prompts, and an end of its own for each request) and 64 output tokens. Needs wrk and the default model.
The mock workers and wrk share the machine's cores with the frontend, so requests per second are a lower bound; CPU per request is
the figure to compare.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.request

from processes import Processes

MODEL = pathlib.Path(os.environ.get("DYNAMO_CACHE", pathlib.Path.home() / ".cache/dynamo")) / "SmolLM2-135M-Instruct.Q4_1.gguf"
LUA = """
local words = {}
for word in ("the quick brown fox jumps over a lazy dog while many other animals watch from behind green trees"):gmatch("%S+") do words[#words + 1] = word end
local function text(seed, count)
  local out = {}
  for i = 1, count do
    seed = (seed * 1103515245 + 12345) % 2147483648
    out[i] = words[seed % #words + 1]
  end
  return table.concat(out, " ")
end
local systems = {}
for i = 1, 8 do systems[i] = text(i, 580) end
local n = 0
local thread_id = 0
function setup(thread) thread:set("thread_id", thread_id) thread_id = thread_id + 1 end
request = function()
  n = n + 1
  local body = string.format('{"model":"mock","stream":true,"max_tokens":64,"ignore_eos":true,"messages":[{"role":"system","content":"%s"},{"role":"user","content":"%s"}]}',
    systems[n % 8 + 1], text(n * 7919, 116))
  return wrk.format("POST", "/v1/chat/completions", {["content-type"] = "application/json"}, body)
end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %f %f\\n", summary.requests, summary.errors.status + summary.errors.read + summary.errors.timeout + summary.errors.connect, summary.duration, latency.mean, latency:percentile(99)))
end
"""


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write_load(folder):
    """Writes wrk's script. Returns: its path."""
    path = os.path.join(folder, "load.lua")
    pathlib.Path(path).write_text(LUA)
    return path


def warm_up(url):
    body = {"model": "mock", "max_tokens": 64, "ignore_eos": True, "messages": [{"role": "user", "content": "hi"}]}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
    urllib.request.urlopen(request).read()


def measure(url, frontend, load, connections, seconds):
    before = cpu_seconds(frontend)
    output = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", load, url], capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(frontend) - before
    requests, errors, duration, mean, p99 = map(float, re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+)", output).groups())
    print(f"{connections:4d} connections: {used / requests * 1000:6.3f} ms CPU per request, {requests / duration * 1e6:7.0f} requests/s, "
          f"latency {mean / 1000:.1f} ms mean, {p99 / 1000:.1f} ms p99, {errors:.0f} errors", flush=True)


def resident_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) / 1024


def start(processes, model_path, http_threads):
    """Starts a hub, two mock workers and a frontend. Returns: the frontend's address and pid."""
    hub = processes.start_hub()
    processes.start_mocker(hub, "--num-workers", 2, "--speedup-ratio", 10000, "--model-path", model_path, "--max-sequences", 256)
    url = processes.start_frontend(hub, "--router-mode", "kv", "--http-threads", http_threads)
    time.sleep(0.5)
    return url, processes.last_pid()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", default="4,64")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--http-threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        load = write_load(folder)
        processes = Processes()
        try:
            url, frontend = start(processes, MODEL, options.http_threads)
            warm_up(url)
            for connections in map(int, options.connections.split(",")):
                measure(url, frontend, load, connections, options.seconds)
            print(f"resident memory of the frontend: {resident_mib(frontend):.0f} MiB")
        finally:
            processes.stop()


if __name__ == "__main__":
    main()
