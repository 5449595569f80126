"""Traces: what a real receiver of OpenTelemetry is sent, and what it costs when there is none."""

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kvgate.metrics.ledger import Account
from tests.config.test_load import mistakes_of
from tests.server.settings import keys_on, namespaces, redis, serving, sharded, stores
from tests.support.resp import frame
from tests.support.servers import NO_REDIS, ROOT, Gate, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

LOCAL = '[backends.local]\ntype = "lmdb"\npath = "$DIR/data"\n'


class Receiver:
    """An OTLP receiver over HTTP: decodes what it is sent. `status` is what it answers."""

    def __init__(self) -> None:
        """Listen on a free port."""
        proto = pytest.importorskip(
            "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="opentelemetry is not installed (kvgate[otel])"
        )
        self.status = 200
        self.messages: list[Any] = []
        self.asked: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.asked.append(self.path)
                if receiver.status == 200:
                    receiver.messages.append(proto.ExportTraceServiceRequest.FromString(body))
                self.send_response(receiver.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def spans(self) -> list[tuple[Any, dict[str, Any]]]:
        """Every span with its attributes, in the order of their ends."""
        found = [
            (span, {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes})
            for message in list(self.messages)
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return sorted(found, key=lambda each: each[0].end_time_unix_nano)

    def resources(self) -> list[dict[str, Any]]:
        return [
            {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in resource.resource.attributes}
            for message in list(self.messages)
            for resource in message.resource_spans
        ]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def counted(gate: Gate, result: str) -> int:
    text = gate.cmd("INFO", "gate").decode()
    found = [line for line in text.splitlines() if line.startswith("trace_spans:")]
    return int(dict(part.split("=") for part in found[0].removeprefix("trace_spans:").split(","))[result])


def test_a_span_for_each_command_when_all_are_sampled(receiver: Receiver) -> None:
    with stores(2) as (one, two):
        config = sharded("a", one, two) + LOCAL + namespaces(Ads_P="a", Loc_T="local", default="a")
        lines = f'traces = "{receiver.url}"\ntrace_sample = 1\n'
        there, here = keys_on(0, 2, 1)[0], keys_on(1, 2, 1)[0]
        with serving(config, one, two, gate=lines) as setting, setting.gate.client() as client:
            sent = [("SET", there, "secret-value"), ("GET", there), ("GET", "Ads.P:none"), ("INCR", there)]
            sent += [
                ("SET", "Loc.T:k", "v"),
                ("GET", "Loc.T:k"),
                ("GET", there),
                ("GET", there),
                ("PING",),
                ("MGET", there, here),
            ]
            before = time.time_ns()
            client.send_raw(b"".join(frame(*each) for each in sent))
            for _ in sent:
                client.read_one()
            after = time.time_ns()
            wait_for(lambda: "MGET" in {span.name for span, _ in receiver.spans()[:-1]}, "the spans")
            spans = [each for each in receiver.spans() if each[0].start_time_unix_nano >= before]  # not those of the start
            names = [span.name for span, _ in spans]
            assert sorted(names) == sorted([*(each[0] for each in sent), "MGET"])  # of each store one
            told = {(span.name, about.get("db.namespace"), about.get("kvgate.backend")): about for span, about in spans}
            assert told["SET", "Ads.P", "a"]["kvgate.result"] == "ok"
            assert told["INCR", "Ads.P", "a"]["kvgate.result"] == "error"
            assert told["INCR", "Ads.P", "a"]["db.response.status_code"] == "ERR"
            assert told["GET", "Loc.T", "local"]["kvgate.result"] == "ok"
            assert ("PING", None, None) in told
            assert "nil" in {about["kvgate.result"] for span, about in spans if span.name == "GET"}
            for span, about in spans:
                assert before <= span.start_time_unix_nano <= span.end_time_unix_nano <= after
                took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
                assert 0 <= about["kvgate.store_seconds"] <= took + 1e-6
                assert (span.status.code == 2) == (about["kvgate.result"] == "error")
            whole = b"".join(message.SerializeToString() for message in receiver.messages)
            assert b"secret-value" not in whole
            assert there.encode() not in whole
            (mget, other) = (span for span, _ in spans if span.name == "MGET")
            assert mget.trace_id == other.trace_id
            assert len({span.trace_id for span, _ in spans}) == len(sent)
            assert len({span.span_id for span, _ in spans}) == len(sent) + 1
            assert set(receiver.asked) == {"/v1/traces"}
            assert receiver.resources()[0]["service.name"] == "kvgate"
            wait_for(lambda: counted(setting.gate, "exported") >= len(spans), "the count")


def test_the_store_s_time_is_told(receiver: Receiver) -> None:
    slow = (
        "local t = redis.call('time') while true do local n = redis.call('time')"
        " if (n[1] - t[1]) * 1000000 + n[2] - t[2] > 300000 then return 1 end end"
    )
    with stores(1) as (one,):
        config = redis("a", one) + namespaces(Ads_P="a", default="a")
        with serving(config, one, gate=f'traces = "{receiver.url}"\ntrace_sample = 1\n') as setting:
            with setting.gate.client() as client:
                for _ in range(3):
                    client.cmd("GET", "Ads.P:k")
                client.cmd("EVAL", slow, 1, "Ads.P:k")
            wait_for(lambda: "EVAL" in {span.name for span, _ in receiver.spans()}, "the spans")
            *others, last = [(span.name, about["kvgate.store_seconds"]) for span, about in receiver.spans()][-4:]
            assert last[0] == "EVAL"
            assert 0.3 <= last[1] < 1.5
            assert all(name == "GET" and seconds < 0.25 for name, seconds in others)


def test_one_of_many(receiver: Receiver) -> None:
    with stores(1) as (one,):
        config = redis("a", one) + namespaces(Ads_P="a", default="a")
        lines = f'traces = "{receiver.url}/custom/path"\ntrace_sample = 0.01\n'
        with serving(config, one, gate=lines) as setting:
            with setting.gate.client() as client:
                for _ in range(40):
                    client.send_raw(frame("GET", "Ads.P:k") * 500)
                    for _ in range(500):
                        client.read_one()
            setting.gate.stop()  # what is left is sent at the end
        assert 110 <= len(receiver.spans()) <= 300  # 200, give or take six deviations
        assert set(receiver.asked) == {"/custom/path"}


def test_a_receiver_that_is_away_costs_nobody_anything(receiver: Receiver) -> None:
    with stores(1) as (one,):
        config = redis("a", one) + namespaces(Ads_P="a", default="a")
        lines = f'traces = "{receiver.url}"\ntrace_sample = 1\n'
        receiver.status = 400
        with serving(config, one, gate=lines) as setting, setting.gate.client() as client:
            for _ in range(20):
                client.send_raw(frame("GET", "Ads.P:k") * 1000)
                for _ in range(1000):
                    assert client.read_one() == b"$-1\r\n"
            wait_for(lambda: counted(setting.gate, "failed"), "spans that the receiver refused")
            assert counted(setting.gate, "exported") == 0
            receiver.status = 200
            client.cmd("GET", "Ads.P:k")
            wait_for(lambda: counted(setting.gate, "exported"), "the receiver to take some again")
            assert "traces_not_sent" in setting.gate.log


def test_nothing_is_imported_while_there_are_none() -> None:
    code = (
        "import sys, kvgate.cli.main, kvgate.server.app, kvgate.server.worker, kvgate.server.traces;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google', 'requests'))])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('traces = "127.0.0.1:4318"', "OTLP"),
        ('traces = "ftp://host"', "OTLP"),
        ('traces = "http://user:secret@host:4318"', "password"),
        ("trace_sample = 0", "share"),
        ("trace_sample = 2", "share"),
        ("trace_sample = true", "share"),
    ],
)
def test_what_is_wrong_is_said(line: str, word: str) -> None:
    (mistake,) = mistakes_of(f"[gate]\n{line}\n{LOCAL}[namespaces]\ndefault = 'local'\n")
    assert word in mistake
    assert "secret" not in mistake


def test_an_account_that_is_followed_counts_where_it_counted_before() -> None:
    from kvgate.server.traces import Followed, Span  # noqa: PLC0415 - of this test only

    inner = Account("Ads.P", "get", readonly=True)
    ended: list[Span] = []

    def done(account: Account, seconds: float, store: float, result: str) -> Span:
        ended.append(Span(1, account.command, account.namespace, "", 0, seconds, store, result))
        return ended[-1]

    followed = Followed(inner, done)
    followed.note_reply(b"-MOVED 1 x\r\n", 0.5, 20)
    followed.note_reply(b"$-1\r\n", 0.5)
    assert (inner.calls, inner.errors, inner.misses, inner.bytes_in) == (2, 1, 1, 20)
    assert inner.codes == {b"MOVED": 1}
    assert [(span.result, span.code, span.seconds) for span in ended] == [("error", "MOVED", 0.5)]
    again = Followed(inner, done)
    again.note_untimed(1, 1)
    again.note_code(b"-TRYAGAIN x\r\n", 0)
    assert (ended[1].result, ended[1].code) == ("error", "TRYAGAIN")
