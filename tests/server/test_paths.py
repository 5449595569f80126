"""A gate runs its hot paths in C or in Python, as it is told, says which, and serves the same."""

import pytest

from kvgate.lane import native
from tests.server.processes import info
from tests.server.reloads import redis
from tests.support.servers import Gates, RedisServer


@pytest.mark.parametrize(("wanted", "lane"), [("1", "native" if native.BUILT else "python"), ("0", "python")])
def test_the_gate_says_which_paths_it_runs(gates: Gates, redis_server: RedisServer, wanted: str, lane: str) -> None:
    gate = gates(f'{redis("a", redis_server.url)}[namespaces]\ndefault = "a"\n', environment={"KVGATE_NATIVE": wanted})
    with gate.client() as client:
        assert info(client)["lane"] == lane
        sent = [("SET", f"A.T:{number}", "v" * number) for number in range(300)]
        assert client.pipeline(sent) == [b"OK"] * 300
        assert client.pipeline([("GET", key) for _, key, _ in sent]) == [value.encode() for _, _, value in sent]
    assert redis_server.calls("set") == redis_server.calls("get") == 300
