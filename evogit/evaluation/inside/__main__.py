"""Start the fork server by path: ``python inside DESCRIPTOR``."""

import importlib
import sys

sys.path.insert(0, __file__.rpartition("/")[0].rpartition("/")[0])
starting = importlib.import_module("inside.starting")
del sys.path[0]
sys.exit(starting.main())
