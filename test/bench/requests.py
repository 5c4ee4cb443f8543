#!/usr/bin/env python3
"""What the API server was asked, from its audit log (server.sh), by a client between two moments, as one JSON object.

    requests.py LOG AGENT FROM TO

AGENT is how its User-Agent begins, FROM and TO are seconds since the epoch; FROM is included. Of Secrets: lists, watches and gets;
all else is `other`. most_in_1s is the busiest second that there is; busy_ms is how long after the first request the last one came."""
import collections
import datetime
import json
import sys


def when(event):
    text = event["requestReceivedTimestamp"].rstrip("Z")
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).timestamp()


def kind(event):
    path, _, query = event["requestURI"].partition("?")
    if not path.startswith("/api/v1/namespaces/") or "/secrets" not in path:
        return "other"
    if "watch=true" in query:
        return "watches"
    return "lists" if path.endswith("/secrets") else "gets"


def most_in(times, seconds):
    most = first = 0
    for last, moment in enumerate(times):
        while moment - times[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def main():
    log, agent, begin, end = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    counts, times = collections.Counter(lists=0, watches=0, gets=0, other=0), []
    with open(log, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            moment = when(event)
            if begin <= moment < end and event.get("userAgent", "").startswith(agent):
                counts[kind(event)] += 1
                times.append(moment)
    times.sort()
    print(json.dumps(dict(counts) | {"requests": len(times), "most_in_1s": most_in(times, 1),
                                     "busy_ms": round((times[-1] - times[0]) * 1000) if times else 0}))


if __name__ == "__main__":
    main()
