"""Numbers that are none, and radii that sum to anything."""

import sys

print("nan nan inf")
print("0.5 0.5 1e308")
for _ in range(int(sys.argv[1]) - 2):
    print("0.5 0.5 -1e-9")
