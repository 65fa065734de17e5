"""A server on loopback that speaks the APIs of chat and embeddings, and misbehaves on order."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 0}


def vector_of(text: str) -> list[float]:
    """Counts of words by the hash of their letters: alike texts get alike vectors."""
    vector = [0.0] * 32
    for word in text.casefold().split():
        vector[zlib.crc32(word.strip(".,:?").encode()) % 32] += 1.0
    return vector


class ChatServer(ThreadingHTTPServer):
    """Answers with the last message in capitals.

    Attributes:
        requests: (path, headers, body) of each request.
        orders: what to do with the next requests, in order: a status, "garbage", "hang up", …,
            or the message to answer with and how it ended, as (fields, finish reason); when it
            is empty, answer. "hang" answers nothing for a minute, or until the server is closed.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.orders: list[Any] = []
        self.closed = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        order = self.server.orders.pop(0) if self.server.orders else None
        if order == "hang":
            self.server.closed.wait(60)
            self.close_connection = True
        elif order == "hang up":
            self.close_connection = True
            self.connection.close()
        elif order == "garbage":
            self._send(200, b"<html>proxy</html>", "text/html")
        elif order == "empty object":
            self._send(200, b"{}")
        elif isinstance(order, int):
            self._send(order, json.dumps({"error": {"message": f"order {order}"}}).encode())
        elif "/embeddings" in self.path:
            self._embed(body, order)
        elif body.get("stream"):
            self._stream(body, order)
        else:
            fields, end = order or ({"content": self._answer(body)}, "stop")
            self._send(200, json.dumps({
                "id": "1", "object": "chat.completion", "created": 0, "model": body["model"],
                "choices": [{"index": 0, "finish_reason": end, "message": {
                    "role": "assistant", **fields}}],
                "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
            }).encode())

    def _embed(self, body: dict[str, Any], order: Any) -> None:
        data = [{"object": "embedding", "index": i, "embedding": vector_of(text)}
                for i, text in enumerate(body["input"])]
        if order == "too few":
            data = data[:-1]
        elif order == "out of order":
            data.reverse()
        elif order == "not a number":
            data[0]["embedding"][0] = float("nan")
        elif order == "ragged":
            data[-1]["embedding"].append(1.0)
        self._send(200, json.dumps({
            "object": "list", "model": body["model"], "data": data,
            "usage": {"prompt_tokens": 1, "total_tokens": 1}}).encode())

    def _answer(self, body: dict[str, Any]) -> str:
        return str(body["messages"][-1]["content"]).upper()

    def _stream(self, body: dict[str, Any], order: Any) -> None:
        broken = order == "break off"
        deltas, end = [{"content": f"{word} "} for word in self._answer(body).split()], "stop"
        if isinstance(order, tuple):
            fields, end = order
            deltas = [{name: part} for name, text in fields.items()
                      for part in ([None] if text is None else text)]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for delta in deltas:
            event = {**_CHUNK, "model": body["model"], "choices": [{"index": 0, "delta": delta}]}
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            if broken:
                self.wfile.write(b"data: {\"id\": \n\n")
                self.close_connection = True
                return
        last = {**_CHUNK, "model": body["model"],
                "choices": [{"index": 0, "delta": {}, "finish_reason": end}]}
        self.wfile.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
        self.close_connection = True

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    server = ChatServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closed.set()
        server.shutdown()
        server.server_close()
        thread.join()
