"""Whole configurations, good and bad."""

import hashlib
from pathlib import Path

import pytest

from kvgate.config import GateSettings, Listen, default, load, parse, prepare_backends
from kvgate.errors import ConfigurationError
from kvgate.policy.rules import DEFAULT_RULES
from tests.config.adapters import Installed

pytestmark = pytest.mark.usefixtures("adapters")
BASE = Path("/etc/kvgate")
HASH = hashlib.sha256(b"secret").hexdigest()

CONTRACT = f"""
[gate]
listen  = ["127.0.0.1:6380", "unix:/run/kvgate.sock"]
workers = 2
metrics = "127.0.0.1:9380"
command_timeout = "2s"
output_soft = "32mb"

[backends.cache]
type = "redis"
url  = "redis://127.0.0.1:6379/0"

[backends.profile]
type = "redis"
hash = "crc32"
slots = 1024
[backends.profile.groups]
"0-511"    = "redis://127.0.0.1:7001"
"512-1023" = "redis://127.0.0.1:7002"

[backends.local]
type = "lmdb"
path = "kvgate-data"
durability = "always"

[namespaces]
"Ads.Profile" = "profile"
"Ads.*"       = "cache"
default       = "local"
[namespaces."Bank.Ledger"]
backend = "local"
max_key = "1kb"
max_value = "128kb"
versioned = true

[users.ads]
password_sha256 = ["{HASH}"]
namespaces = ["Ads.*"]
networks   = ["10.0.0.0/8", "127.0.0.1"]
"""
SMALL = '[backends.c]\ntype = "redis"\nurl = "redis://h"\n[namespaces]\ndefault = "c"\n'
USER = f'[users.a]\npassword_sha256 = ["{HASH}"]\n'


def mistakes_of(text: str, base: Path = BASE) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text.encode(), base)
    return caught.value.mistakes


def test_the_contract_s_example() -> None:
    found = parse(CONTRACT.encode(), BASE)
    assert found.gate.listen == (Listen("tcp", "127.0.0.1", 6380), Listen("unix", path="/run/kvgate.sock"))
    assert (found.gate.workers, found.gate.command_timeout, found.gate.output_soft) == (2, 2.0, 32 * 1024 * 1024)
    assert found.gate.metrics == Listen("tcp", "127.0.0.1", 9380)
    assert {name: settings.type for name, settings in found.backends.items()} == {
        "cache": "redis",
        "profile": "redis",
        "local": "lmdb",
    }
    assert "type" not in found.backends["cache"].options
    ledger = found.namespaces.of(b"Bank.Ledger:1")
    assert ledger is not None
    assert (ledger.backend, ledger.max_key, ledger.max_value, ledger.versioned) == ("local", 1024, 131072, True)
    profile = found.namespaces.of(b"Ads.Profile:1")
    assert profile is not None
    assert (profile.backend, profile.max_key, profile.max_value, profile.versioned) == ("profile", None, 1000, False)
    ads = found.users.get("ads")
    assert ads is not None
    assert ads.commands == DEFAULT_RULES
    assert found.users.authenticate(b"ads", b"secret", "10.0.0.1", 0.0) is ads
    assert found.sha256 == hashlib.sha256(CONTRACT.encode()).hexdigest()
    assert (found.path, found.warnings) == (None, ())


def test_a_backend_s_own_limit_of_values_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.routing.stores.Embedded.max_value", 5000)
    found = parse(CONTRACT.encode(), BASE).namespaces
    assert found.default is not None
    assert found.default.max_value == 5000
    assert found.rules[0].max_value == 5000  # on another backend of the same class


def test_backends_are_prepared_by_their_adapters() -> None:
    backends = prepare_backends(parse(CONTRACT.encode(), BASE))
    assert {name: backend.type for name, backend in backends.items()} == {
        "cache": "redis",
        "profile": "redis",
        "local": "lmdb",
    }


def test_secrets_are_in_no_repr() -> None:
    text = SMALL.replace("redis://h", "redis://u:hunter2@h") + USER
    assert "hunter2" not in repr(parse(text.encode(), BASE))


def test_every_mistake_of_a_file_is_told_at_once() -> None:
    text = f"""
    gaet = 1
    [gate]
    listen = ["6380", "tls:127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:2"]
    workers = 0
    worker = 2
    metrics = "unix:/x"
    command_timeout = "soon"
    output_soft = "2gb"
    log_level = "loud"
    proxy_protocol = ["10.0.0.300"]
    allowed_scripts = ["abc"]
    [backends.profile]
    type = "redis"
    [backends.odd]
    type = "redsi"
    [backends.broken]
    type = "broken"
    [backends.none]
    url = "x"
    [backends]
    flat = 3
    [backends.local]
    type = "lmdb"
    pth = "x"
    [namespaces]
    Plain = "profile"
    "Ads.Profile" = "profil"
    "Ads.X" = 7
    Bank.Ledger = "profile"
    [namespaces."Ads.Y"]
    backend = "lokal"
    max_value = "big"
    version = true
    [namespaces."Ads.Z"]
    max_key = 0
    [users.ads]
    password_sha256 = ["secret", "{HASH}"]
    namespaces = ["Ads", "Ads.*"]
    commands = ["+@al", "+get"]
    networks = ["localhost"]
    admin = true
    [users.slow]
    password_scrypt = ["secret", "$scrypt$ln=10,r=8,p=1$aaaaaaaaaaaaaaaaaaaaaa$b", "$scrypt$ln=20,r=8,p=1$a$b",
                       "$scrypt$ln=15,r=8,p=9$a$b", "$scrypt$ln=15,r=8,p=1$a$b", "$scrypt$ln=15,r=8,p=0$a$b"]
    read_only = ["Ads"]
    [users.shown]
    certificates = ["CN=ads.shop", "ads.shop", "DNS=*.shop", "CN=", "URI=spiffe://shop/ads", "DNS=Ads.Shop"]
    [users.double]
    certificates = ["DNS=ads.shop", "CN=ads.shop"]
    [users.none]
    [users]
    flat = 3
    [users."a b"]
    password_sha256 = "{HASH}"
    """
    assert mistakes_of(text) == [
        'gaet: unknown key (did you mean "gate"?)',
        'gate.listen: "6380" is no address: host:port, [::1]:port, tls:host:port or unix:/path',
        'gate.listen: "127.0.0.1:2" is there twice',
        "gate.metrics: is plain HTTP over TCP: host:port",
        "gate.tls: a tls: listener needs [gate.tls] with cert and key",
        'gate.proxy_protocol: "10.0.0.300" is no address or network: "10.0.0.0/8", "127.0.0.1", "::1"',
        'gate.log_level: "loud" is none of debug, info, warning, error',
        'gate.allowed_scripts: "abc" is no SHA-1: 40 hex digits, as SCRIPT LOAD answers',
        "gate.workers: must be a whole number of at least 1, at most 256",
        'gate.command_timeout: a time is a number of milliseconds or a text like "500ms", "1.5s", "2m"',
        "gate.output_soft: is above output_hard",
        'gate.worker: unknown key (did you mean "workers"?)',
        'backends.profile: needs url = "redis://host:port/db", or [….groups] with slot ranges',
        'backends.odd.type: no adapter is called "redsi" (did you mean "redis"?); installed: broken, lmdb, redis',
        (
            'backends.broken.type: the adapter "broken" (kvgate_broken:adapter) cannot be imported:'
            " ImportError('no module of this name')"
        ),
        'backends.none.type: needed: "redis", "lmdb" …',
        "backends.flat: must be a table: [backends.flat]",
        "backends.local.pth: unknown key",
        "backends.local: needs a path: path = …",
        'namespaces.Plain: a namespace\'s name has a dot: "App.Plain"',
        'namespaces."Ads.Profile": no backend is called "profil" (did you mean "profile"?)',
        'namespaces."Ads.X": must be a backend\'s name, or a table with backend = "…"',
        'namespaces.Bank: a name with a dot is written in quotes: "Bank.Ledger"',
        'namespaces."Ads.Y".backend: no backend is called "lokal" (did you mean "local"?)',
        'namespaces."Ads.Y".max_value: a size is a number of bytes or a text like "128kb", "64mb"',
        'namespaces."Ads.Y".version: unknown key (did you mean "versioned"?)',
        'namespaces."Ads.Z".backend: needed: the name of a [backends.NAME]',
        'namespaces."Ads.Z".max_key: must be at least 1 bytes',
        "users.ads.password_sha256: number 1 is no SHA-256 (64 hex digits); `kvgate password` prints one",
        'users.ads.namespaces: "Ads": a namespace\'s name has a dot: "App.Ads"; "*" is all',
        'users.ads.commands: "+@al": there is no category @al (did you mean "@all"?)',
        'users.ads.networks: "localhost" is no address or network: "10.0.0.0/8", "127.0.0.1", "::1"',
        "users.ads.admin: unknown key",
        (
            "users.slow.password_scrypt: number 1 is no scrypt hash ($scrypt$ln=…,r=…,p=…$salt$hash); `kvgate password"
            " --scrypt` prints one"
        ),
        "users.slow.password_scrypt: number 2 uses too little or too much memory: 128 · 2^ln · r must be from 16 to 64 MiB",
        "users.slow.password_scrypt: number 3 uses too little or too much memory: 128 · 2^ln · r must be from 16 to 64 MiB",
        "users.slow.password_scrypt: number 4 takes too long, or p is 0: 2^ln · r · p must be at most 1,048,576",
        "users.slow.password_scrypt: number 5 is no base64 behind its costs",
        "users.slow.password_scrypt: number 6 takes too long, or p is 0: 2^ln · r · p must be at most 1,048,576",
        "users.slow.password_scrypt: at most 4: every attempt is compared with all of them",
        'users.slow.read_only: "Ads": a namespace\'s name has a dot: "App.Ads"; "*" is all',
        'users.shown.certificates: "ads.shop" is no name: "CN=ads.shop" (subject), "DNS=ads.shop" or "URI=spiffe://shop/ads"',
        'users.shown.certificates: "DNS=*.shop": names are compared whole, there are no wildcards',
        'users.shown.certificates: "CN=" is no name: "CN=ads.shop" (subject), "DNS=ads.shop" or "URI=spiffe://shop/ads"',
        'users.double.certificates: "DNS=ads.shop" is user "shown" already',
        'users.double.certificates: "CN=ads.shop" is user "shown" already',
        (
            "users.none.password_sha256: needed: at least one hash, as `kvgate password` prints it (or password_scrypt, or"
            " certificates)"
        ),
        "users.flat: must be a table: [users.flat]",
        'users."a b": a user\'s name has 1 to 128 letters and no spaces',
        'users."a b".password_sha256: must be a list of texts: ["…"]',
    ]


def test_a_password_in_place_of_a_hash_is_not_shown() -> None:
    text = SMALL + '[users.a]\npassword_sha256 = ["hunter2"]\n'
    assert not any("hunter2" in mistake for mistake in mistakes_of(text))


def test_an_empty_file_says_what_is_needed() -> None:
    assert [mistake.partition(":")[0] for mistake in mistakes_of("")] == ["backends", "namespaces"]


def test_a_table_in_place_of_a_value_and_a_value_in_place_of_a_table() -> None:
    assert mistakes_of("gate = 3\n" + SMALL) == ["gate: must be a table: [gate]"]
    assert mistakes_of(SMALL + "[gate.listen]\n") == ['gate.listen: must be a list of texts: ["…"]']
    assert mistakes_of(SMALL + "[gate]\nlisten = []\n") == ['gate.listen: at least one address: listen = ["127.0.0.1:6380"]']


def test_no_toml_and_no_utf8_say_where() -> None:
    assert mistakes_of("[gate]\nlisten = \n")[0].startswith("no TOML: ")
    assert "line 2" in mistakes_of("[gate]\nlisten = \n")[0]
    with pytest.raises(ConfigurationError, match="byte 1 is no UTF-8"):
        parse(b"#\xff", BASE)


@pytest.mark.parametrize("listen", ["0.0.0.0:6380", "[::]:6380", "192.0.2.1:6380", "gate.example:6380"])
def test_beyond_loopback_without_users_is_refused_with_what_to_add(listen: str) -> None:
    (mistake,) = mistakes_of(f'[gate]\nlisten = ["127.0.0.1:1", "{listen}"]\n' + SMALL)
    assert mistake.startswith(f'gate.listen: "{listen}" can be reached from other machines')
    assert "[users.NAME]" in mistake
    assert "kvgate password" in mistake
    parse((f'[gate]\nlisten = ["{listen}"]\n' + SMALL + USER).encode(), BASE)


def test_tls_beyond_loopback_needs_users_too() -> None:
    gate = '[gate]\nlisten = ["tls:0.0.0.0:6381"]\n[gate.tls]\ncert = "c.pem"\nkey = "/k.pem"\n'
    assert len(mistakes_of(gate + SMALL)) == 1
    found = parse((gate + SMALL + USER).encode(), BASE).gate.tls
    assert found is not None
    assert (found.cert, found.key, found.ca) == (BASE / "c.pem", Path("/k.pem"), None)


def test_an_embedded_store_beyond_loopback_must_be_said_to_be_single() -> None:
    gate = '[gate]\nlisten = ["0.0.0.0:1"]\n'
    store = '[backends.my-local]\ntype = "lmdb"\npath = "x"\n'
    rest = '[namespaces]\ndefault = "my-local"\n' + USER
    (mistake,) = mistakes_of(gate + store + rest)
    assert mistake.startswith("backends.my-local.single_gate: ")
    assert len(mistakes_of(gate + store + "single_gate = false\n" + rest)) == 1
    parse((gate + store + "single_gate = true\n" + rest).encode(), BASE)
    parse((store + rest).encode(), BASE)


def test_warnings_are_no_mistakes() -> None:
    text = (
        SMALL
        + '[backends.idle]\ntype = "redis"\nurl = "redis://h"\n[namespaces."Ads.Profile"]\nbackend = "c"\n'
        + USER
        + 'namespaces = ["Ads.Profil", "Ads.*", "Bank.*", "default", "*"]\ncommands = ["-@dangerous"]\n'
    )
    assert parse(text.encode(), BASE).warnings == (
        'users.a.namespaces: "Ads.Profil" matches nothing in [namespaces] (did you mean "Ads.Profile"?)',
        'users.a.namespaces: "Bank.*" matches nothing in [namespaces]',
        'users.a.commands: begins by taking away from nothing; put "+@all" first',
        "backends.idle: no namespace leads to it",
    )


def test_a_file_s_paths_are_relative_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "gate.toml").write_text('[gate]\nlisten = ["unix:g.sock"]\n' + SMALL)
    monkeypatch.chdir(tmp_path)
    found = load(Path("sub/gate.toml"))
    assert found.base == tmp_path / "sub"
    assert found.path == tmp_path / "sub" / "gate.toml"
    assert found.gate.listen == (Listen("unix", path=str(tmp_path / "sub" / "g.sock")),)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the file cannot be read: No such file"):
        load(tmp_path / "no.toml")


def test_the_command_line_replaces_listeners_and_workers_before_they_are_judged() -> None:
    text = ('[gate]\nlisten = ["0.0.0.0:1"]\nworkers = 3\n' + SMALL).encode()
    found = parse(text, BASE, listen=["127.0.0.1:7"], workers=2)
    assert (found.gate.listen, found.gate.workers) == ((Listen("tcp", "127.0.0.1", 7),), 2)
    with pytest.raises(ConfigurationError, match=r"can be reached from other machines"):
        parse(SMALL.encode(), BASE, listen=["0.0.0.0:7"])


def test_the_default_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = default()
    assert found.gate == GateSettings()
    assert found.base == tmp_path
    assert found.backends["local"].options == {"path": "kvgate-data"}
    namespace = found.namespaces.of(b"anything")
    assert namespace is not None
    assert namespace.backend == "local"
    assert not found.users.configured
    odd = default(Path('/a "b"\\c'), ["127.0.0.1:1", "[::1]:1"])
    assert odd.backends["local"].options == {"path": '/a "b"\\c'}
    assert len(odd.gate.listen) == 2
    with pytest.raises(ConfigurationError, match=r"can be reached from other machines"):
        default(listen=["0.0.0.0:1"])


def test_an_adapter_s_mistakes_are_told_when_preparing(adapters: Installed) -> None:
    found = parse(SMALL.encode(), BASE)
    adapters["redis"].resp = False  # an adapter that was replaced since: it wants other options
    with pytest.raises(ConfigurationError) as caught:
        prepare_backends(found)
    assert caught.value.mistakes == ["backends.c.url: unknown key", "backends.c: needs a path: path = …"]


def test_an_entry_point_that_is_no_adapter_is_a_mistake(adapters: Installed) -> None:
    adapters["redis"].type = "lmdb"
    assert mistakes_of(SMALL) == [
        'backends.c.type: the entry point "redis" (kvgate_redis:adapter) names something that is no adapter of that type'
    ]


def test_an_upstream_user_is_the_one_that_the_gate_connects_as() -> None:
    store = '[backends.c]\ntype = "redis"\n{}\n[backends.l]\ntype = "lmdb"\npath = "x"\n'
    spaces = '[namespaces]\ndefault = "l"\n[namespaces."Ads.X"]\nbackend = "{}"\nupstream_user = "ads"\n'
    parse((store.format('url = "redis://ads:p@h"') + spaces.format("c")).encode(), BASE)
    parse((store.format('url = "redis://h"\nuser = "ads"') + spaces.format("c")).encode(), BASE)
    for url, backend in (("redis://h", "c"), ("redis://bank:p@h", "c"), ("redis://ads:p@h", "l")):
        (mistake,) = mistakes_of(store.format(f'url = "{url}"') + spaces.format(backend))
        assert mistake.startswith(f'namespaces."Ads.X".upstream_user: the gate does not connect to backend "{backend}" as')


def test_certificates_that_nobody_asks_for_are_warned_of() -> None:
    text = SMALL + '[users.a]\ncertificates = ["CN=a"]\nread_only = ["Nobody.*"]\n'
    warning = "gate.tls.ca: users have certificates, and without it no client is asked for one"
    assert warning in parse(text.encode(), BASE).warnings
    assert any('users.a.read_only: "Nobody.*" matches nothing' in each for each in parse(text.encode(), BASE).warnings)
    tls = '[gate.tls]\ncert = "c.pem"\nkey = "k.pem"\nca = "ca.pem"\n'
    assert warning not in parse((tls + text).encode(), BASE).warnings
