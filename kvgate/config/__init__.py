"""The configuration file: read, checked, every mistake told at once."""

from kvgate.config.adapters import adapter, installed_types, prepare_backends
from kvgate.config.load import default, load, parse
from kvgate.policy.settings import GateSettings, Listen, TlsSettings
from kvgate.routing.configuration import BackendSettings, Configuration
from kvgate.routing.namespaces import Namespace, Namespaces

__all__ = [
    "BackendSettings",
    "Configuration",
    "GateSettings",
    "Listen",
    "Namespace",
    "Namespaces",
    "TlsSettings",
    "adapter",
    "default",
    "installed_types",
    "load",
    "parse",
    "prepare_backends",
]
