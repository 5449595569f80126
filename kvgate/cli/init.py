"""`kvgate init`: a configuration to begin with, every key explained."""

import argparse
from pathlib import Path
from typing import Any, Final

from kvgate.errors import ConfigurationError

TEMPLATE: Final = """\
# kvgate's configuration. `kvgate check FILE` says every mistake; docs/configuration.md explains every key.
# A line that begins with "#" and no space is an example: take the "#" away to use it.

[gate]
listen = ["127.0.0.1:6380"]          # also "[::1]:6380", "unix:/run/kvgate.sock", "tls:0.0.0.0:6381" with [gate.tls]
#workers = 2                         # processes
#metrics = "127.0.0.1:9380"          # /metrics and /health
#proxy_protocol = ["10.0.0.5"]       # balancers whose PROXY protocol v2 header is believed

#[gate.tls]
#cert = "gate.pem"
#key = "gate.key"
#ca = "clients.pem"                  # when given, clients must show a certificate that it signed

# The embedded store: nothing else has to run.
[backends.local]
type = "lmdb"
path = "kvgate-data"                 # relative to this file
durability = "always"                # on disk before the reply; "no": survives a crash of the gate, not a power loss
#single_gate = true                  # needed when the gate listens beyond loopback: the data is on this machine alone

# One Redis. User and password may also be in the URL.
#[backends.cache]
#type = "redis"
#url = "redis://127.0.0.1:6379/0"    # rediss:// is TLS, unix:///run/redis.sock a unix socket
#password_file = "cache.password"    # read at each connection
#rename = { FLUSHALL = "x-flushall" }

# Several Redis masters: a key's slot is zlib's crc32 of the key, or of its {tag}, modulo the number of slots.
#[backends.profile]
#type = "redis"
#slots = 1024
#[backends.profile.groups]
#"0-511" = "redis://127.0.0.1:7001"
#"512-1023" = "redis://127.0.0.1:7002"

# A key's namespace is the text before its first ":". Names have a dot; an exact name goes before "App.*".
[namespaces]
#"Ads.Profile" = "profile"
#"Ads.*" = "cache"
default = "local"                    # every other key; without this line they are refused

#[namespaces."Bank.Ledger"]
#backend = "local"
#max_key = "1kb"
#max_value = "128kb"
#versioned = true
#forbidden = ["keys", "@scripting"]  # nobody may run these on its keys
#ttl_default = "1h"                  # keys that are written without an expiry get this one
#ttl_jitter = 0.1                    # … so that those written together do not expire together

# Who did what, as lines of JSON: what administers, what is dangerous, what is refused; "all" is everything.
#[audit]
#path = "audit.log"
#commands = "admin"
#users = ["ads"]                     # whose every command is noted
#required = true                     # refuse what cannot be noted

# Without users everybody on this machine may do everything, and no listener may be reachable from others.
#[users.ads]
#password_sha256 = ["c5e8f2d1e4c1ff1d3d0f8a3b7c1b8f6a5d0e9c7b2a4f6d8e1c3b5a7f9e0d2c4b"]  # `kvgate password` prints it
#namespaces = ["Ads.*"]              # "*" is all
#databases = { 0 = "Ads.Cache" }      # for applications that do not prefix their keys: what SELECT 0 is
#read_only = ["Bank.Ledger"]         # to read and not to write
#commands = ["+@all", "-@dangerous"] # as Redis' ACL; this when omitted
#networks = ["10.0.0.0/8", "127.0.0.1"]
"""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "init",
        help="print or write a commented configuration",
        description="Print a commented configuration, or write it to FILE, which must not exist yet.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Never overwrites."""
    if arguments.file is None:
        print(TEMPLATE, end="")
        return 0
    try:
        with arguments.file.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise ConfigurationError([f"{arguments.file} exists already; it was left as it is"]) from None
    except OSError as error:
        raise ConfigurationError([f"{arguments.file} cannot be written: {error.strerror}"]) from None
    print(f"{arguments.file}: written; try: kvgate check {arguments.file}")
    return 0
