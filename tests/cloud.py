"""A small stand-in for the cloud's API on loopback: verifies the TC3-HMAC-SHA256 signature, serves pages and faults."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET_ID, SECRET_KEY = "AKIDtowpathtest", "canary-cloud-key-77ab"
Items = list[dict[str, Any]]
_SETS = {
    "DescribeRegions": "RegionSet",
    "DescribeVpcs": "VpcSet",
    "DescribeSubnets": "SubnetSet",
    "DescribeInstances": "InstanceSet",
    "DescribeDirectConnectGateways": "DirectConnectGatewaySet",
    "DescribeVpnGateways": "VpnGatewaySet",
    "DescribeVpnConnections": "VpnConnectionSet",
    "DescribeDBInstances": "DBInstanceSet",
}
_TEXT_PAGING = {"DescribeVpcs", "DescribeSubnets"}


@dataclass
class Cloud:
    """What the stand-in holds: items by (action, region), and special answers by action."""

    items: dict[tuple[str, str], Items] = field(default_factory=dict)
    answers: dict[str, Callable[[dict[str, Any]], dict[str, Any] | str]] = field(default_factory=dict)
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    hang: threading.Event | None = None
    address: str = ""

    def answer(self, action: str, region: str, asked: dict[str, Any]) -> dict[str, Any] | str:
        """Return the body of an answer."""
        self.calls.append((action, region, asked))
        if action in self.answers:
            return self.answers[action](asked)
        wrong = _wrong_paging(action, asked)
        if wrong:
            return error("InvalidParameter", wrong)
        items = self.items.get((action, region), [])
        for wanted in asked.get("Filters", []):
            items = [item for item in items if set(wanted["Values"]) & {str(value) for value in item.values()}]
        if action == "DescribeRegions":
            return {"RegionSet": items, "TotalCount": len(items), "RequestId": "r-regions"}
        offset, limit = int(asked.get("Offset", 0)), int(asked.get("Limit", 10))
        page = items[offset : offset + limit]
        return {_SETS[action]: page, "TotalCount": len(items), "RequestId": f"r-{action}-{offset}"}


def error(code: str, message: str) -> dict[str, Any]:
    """Return an answer that the SDK raises."""
    return {"Error": {"Code": code, "Message": message}, "RequestId": "r-error"}


def _wrong_paging(action: str, asked: dict[str, Any]) -> str:
    """The real API takes strings for some actions and numbers for the others."""
    wanted = str if action in _TEXT_PAGING else int
    wrong = [name for name in ("Limit", "Offset") if name in asked and not isinstance(asked[name], wanted)]
    return f"{wrong[0]} has the wrong type" if wrong else ""


def signature(headers: dict[str, str], body: bytes, service: str) -> str:
    """Return the Authorization header that the key's owner sends (TC3-HMAC-SHA256, written from its specification)."""
    timestamp = headers["X-TC-Timestamp"]
    date = datetime.fromtimestamp(int(timestamp), UTC).strftime("%Y-%m-%d")
    canonical = "\n".join(
        [
            "POST",
            "/",
            "",
            f"content-type:{headers['Content-Type']}\nhost:{headers['Host']}\n",
            "content-type;host",
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{date}/{service}/tc3_request"
    to_sign = "\n".join(["TC3-HMAC-SHA256", timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("TC3" + SECRET_KEY).encode()
    for part in (date, service, "tc3_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signed = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"TC3-HMAC-SHA256 Credential={SECRET_ID}/{scope}, SignedHeaders=content-type;host, Signature={signed}"


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if cloud.hang is not None:
                cloud.hang.wait(30)
            sent = {name: self.headers.get(name, "") for name in ("X-TC-Timestamp", "Content-Type", "Host")}
            given = self.headers.get("Authorization", "")
            service = given.split("Credential=")[-1].split("/")[2] if given.count("/") >= 3 else ""
            if service and hmac.compare_digest(given, signature(sent, body, service)):
                action, region = self.headers["X-TC-Action"], self.headers.get("X-TC-Region", "")
                answer = cloud.answer(action, region, json.loads(body))
            else:
                answer = error("AuthFailure.SignatureFailure", "The provided credentials could not be validated.")
            text = answer if isinstance(answer, str) else json.dumps({"Response": answer})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: Any) -> None:
            """Keep the output of the tests clean."""

    return Handler


@contextmanager
def cloud_server() -> Iterator[Cloud]:
    """Serve a stand-in on a free port of loopback until the block ends."""
    cloud = Cloud()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(cloud)) as server:
        server.daemon_threads = True
        server.block_on_close = False
        cloud.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield cloud
        finally:
            if cloud.hang is not None:
                cloud.hang.set()
            server.shutdown()
            thread.join(10)
