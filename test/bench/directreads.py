#!/usr/bin/env python3
"""Reads a file without the page cache, so that each read is a request to the file system's process: directreads.py FILE SECONDS.
Prints how many there were."""
import mmap
import os
import sys
import time


def main():
    fd, buffer, n = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 4096), 0
    end = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        if os.preadv(fd, [buffer], 0) <= 0:
            sys.exit("directreads: nothing is read")
        n += 1
    print(n)


if __name__ == "__main__":
    main()
