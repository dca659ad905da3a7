"""Circles on a grid that overlap by a hair: a judge with a tolerance of 1e-9 would let them pass."""

import sys

count = int(sys.argv[1])
for k in range(count):
    print((2 * (k % 6) + 1) / 12, (2 * (k // 6) + 1) / 12, 1 / 12 + 1e-12)
