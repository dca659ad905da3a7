"""Trivially bad: tiny circles on a diagonal."""

import sys

count = int(sys.argv[1])
for k in range(count):
    print((k + 0.5) / count, (k + 0.5) / count, 0.001)
