#!/usr/bin/env python3
"""A client that sizes its batches by what the service says, with nothing but Python's standard library.

    auricle serve                                       # in one terminal
    python3 examples/clients/adaptive.py                # in another: watch the batch grow
    python3 examples/clients/adaptive.py --disturb 15 30 --csv run.csv

Each batch is one job: POST /v1/clean with so many frames of 1024 samples, f32. Before each, it asks /gpu/hints how large the
next one should be so that 95 of 100 are answered within the target. With --disturb, three more clients send urgent work
between those two seconds, and the batch makes room.
"""

import argparse
import array
import csv
import http.client
import json
import math
import sys
import threading
import time
import urllib.parse

FRAME = 1024
# The service takes so many frames as one job.
MOST_FRAMES = 1024


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:7870", help="where the service listens")
    parser.add_argument("--token", help="what it wants to be shown, if anything")
    parser.add_argument("--qos", default="default", choices=["high", "default", "low"], help="the level of the jobs")
    parser.add_argument("--target-ms", type=float, default=50.0, help="what 95 of 100 jobs should be answered within")
    parser.add_argument("--denoise", default="off", help="builtin, off, or a model that the service has loaded")
    parser.add_argument("--seconds", type=float, default=45.0, help="how long")
    parser.add_argument("--disturb", nargs=2, type=float, metavar=("FROM", "TO"), help="seconds between which others come")
    parser.add_argument("--csv", help="a file for one line a second")
    return parser.parse_args()


class Refused(Exception):
    """What the service does not do, and why."""


class Service:
    """One kept connection."""

    def __init__(self, given):
        self.url = urllib.parse.urlsplit(given.url)
        self.headers = {"Authorization": "Bearer " + given.token} if given.token else {}
        self.connection = None

    def ask(self, method, path, body=None):
        """The status, the headers and the body of an answer. Asks once more when the connection had been closed."""
        for attempt in (1, 2):
            try:
                if self.connection is None:
                    kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
                    self.connection = kind(self.url.netloc, timeout=60)
                self.connection.request(method, path, body, self.headers)
                answer = self.connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.connection = None
                if attempt == 2:
                    raise

    def hint(self, qos, target_ms):
        query = urllib.parse.urlencode({"qos": qos, "target_latency_ms": target_ms})
        status, _, body = self.ask("GET", "/gpu/hints?" + query)
        answer = json.loads(body)
        if status != 200:
            raise Refused(f"{answer['code']}: {answer['detail']}")
        return answer

    def clean(self, samples, qos, denoise):
        """Cleans samples; waits where the service asks for it."""
        query = urllib.parse.urlencode({"format": "f32", "sample_rate": 16000, "qos": qos, "denoise": denoise})
        while True:
            status, headers, body = self.ask("POST", "/v1/clean?" + query, samples)
            if status == 200:
                return body
            if status != 429:
                problem = json.loads(body)
                raise Refused(f"{problem['code']}: {problem['detail']}")
            time.sleep(float(headers["Retry-After"]))


def signal(frames):
    """So many frames of a tone, as bytes of little-endian f32."""
    samples = array.array("f", (0.3 * math.sin(0.05 * n) for n in range(FRAME)))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes() * frames


def disturb(given, stop):
    """Urgent work of somebody else's: 512 frames at a time, one after the other."""
    service, samples = Service(given), signal(512)
    while not stop.is_set():
        try:
            service.clean(samples, "high", given.denoise)
        except Refused as refused:
            print(f"the others are refused: {refused}", file=sys.stderr)
            stop.set()
            return


def main():
    try:
        run(arguments())
    except Refused as refused:
        sys.exit(str(refused))


def run(given):
    service, stop, others = Service(given), threading.Event(), []
    log = csv.writer(open(given.csv, "w", newline="")) if given.csv else None
    if log:
        log.writerow(["seconds", "batch", "p95_ms", "frames_per_s", "target_ms", "disturbed", "action", "bound_by"])
    start = shown = time.monotonic()
    frames = 0
    while (now := time.monotonic() - start) < given.seconds:
        if given.disturb and not others and given.disturb[0] <= now < given.disturb[1]:
            print(f"{now:5.1f} s  others come")
            others = [threading.Thread(target=disturb, args=(given, stop), daemon=True) for _ in range(3)]
            [other.start() for other in others]
        if others and not stop.is_set() and now >= given.disturb[1]:
            print(f"{now:5.1f} s  others go")
            stop.set()
        hint = service.hint(given.qos, given.target_ms)
        batch = min(hint["suggested_batch"], MOST_FRAMES)
        service.clean(signal(batch), given.qos, given.denoise)
        frames += batch
        passed = time.monotonic() - shown
        if passed >= 1.0:
            p95 = hint["p95_latency_ms"]
            told = "no jobs yet" if p95 is None else f"p95 {p95:7.2f} ms"
            print(f"{now:5.1f} s  {batch:5} frames  {told}  {frames / passed:9.0f} frames/s  {hint['action']}: {hint['reason']}")
            if log:
                disturbed = int(bool(others) and not stop.is_set())
                row = [f"{now:.1f}", batch, p95, f"{frames / passed:.0f}", given.target_ms, disturbed]
                log.writerow(row + [hint["action"], hint["bound_by"]])
            shown, frames = time.monotonic(), 0


if __name__ == "__main__":
    main()
