"""A program: a real Ray cluster of two nodes on this machine, told by its standard input what happens to it.

``kill`` kills the second node, ``add`` adds one; at the end of its input everything ends. It answers in lines of JSON.
In a process of its own, as Ray looks at the network and stays in the process that started it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


def main() -> None:
    place = tempfile.mkdtemp(prefix="evogit-ray-", dir="/tmp")  # short: sockets are in it
    # Not `temp_dir`: Ray also notes the address where this says, which has to be there, and is nobody else's then.
    os.environ["RAY_TMPDIR"] = place
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        nodes = [cluster.add_node(**NODE)]
        answer({"address": cluster.address})
        for line in sys.stdin:
            if line.strip() == "kill":
                cluster.remove_node(nodes.pop(), allow_graceful=False)
            elif line.strip() == "add":
                nodes.append(cluster.add_node(**NODE))
            answer({"did": line.strip()})
    finally:
        cluster.shutdown()
        shutil.rmtree(place, ignore_errors=True)


def answer(document: dict[str, str]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
