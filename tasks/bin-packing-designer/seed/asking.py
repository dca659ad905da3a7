"""Ask the model that this evaluation may use."""

import http.client
import json
import os
import socket


def ask(messages, **options):
    """The text of its answer. Raises RuntimeError when there is none, as when all requests are used up."""
    if "EVOGIT_MODEL_FD" in os.environ:
        connection = socket.socket(fileno=os.dup(int(os.environ["EVOGIT_MODEL_FD"])))
    else:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.environ["EVOGIT_MODEL_SOCKET"])
    with connection:
        client = http.client.HTTPConnection("localhost")
        client.sock = connection
        body = json.dumps({"model": "model", "messages": messages, **options})
        client.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answer = json.loads(client.getresponse().read())
    if "error" in answer:
        raise RuntimeError(answer["error"]["message"])
    return answer["choices"][0]["message"]["content"]
