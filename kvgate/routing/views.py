"""Which keys of a store a user's listing may touch: the user's grants and the namespaces' rules, put together."""

from kvgate.backend import INTERNAL_PREFIX, View
from kvgate.policy.users import User
from kvgate.routing.namespaces import DEFAULT, Namespace, Namespaces


def visible_rules(user: User, namespaces: Namespaces, backend: str) -> tuple[Namespace, ...]:
    """The rules that lead to the backend and of which the user may see something; without any, the store is none of theirs."""
    return tuple(rule for rule in namespaces.on(backend) if user.sees_some(rule))


def sees_whole_store(user: User, namespaces: Namespaces, backend: str) -> bool:
    """Whether no key that could lie in the store is hidden from the user.

    Only where all keys are routed to this backend: a key of a namespace that is configured elsewhere, or of none, may lie
    here all the same (before a move, by another gate, or because two backends name one store), and is not the user's.
    """
    return (
        user.sees_all
        and namespaces.default is not None
        and all(rule.backend == backend for rule in namespaces.rules)
    )


def shares_store(user: User, namespaces: Namespaces, backend: str) -> bool:
    """Whether a namespace that the user lacks, or a part of one, lies on the backend: scripts are not run there unchecked."""
    return not all(user.sees(rule) for rule in namespaces.on(backend))


def _prefixes(user: User, rules: tuple[Namespace, ...]) -> tuple[bytes, ...]:
    """What the visible keys begin with; empty when that may be anything."""
    found: list[bytes] = []
    for rule in rules:
        prefix = rule.prefix
        if rule.name == DEFAULT or prefix is None:
            return ()
        if user.sees(rule):
            found.append(prefix)
        else:  # a wildcard of which single tables are granted
            app = rule.name[:-1]
            found += [name.encode("utf-8", "surrogateescape") + b":" for name in user.namespaces if name.startswith(app)]
    return tuple(sorted(set(found)))


def view(user: User, namespaces: Namespaces, backend: str) -> View:
    """The view of the user on the backend; `has` is called for each key of a listing."""
    of, sees = namespaces.of, user.sees

    def has(key: bytes) -> bool:
        namespace = of(key)
        return (
            namespace is not None
            and namespace.backend == backend
            and sees(namespace)
            and not key.startswith(INTERNAL_PREFIX)
        )

    rules = visible_rules(user, namespaces, backend)
    return View(has=has, everything=sees_whole_store(user, namespaces, backend), prefixes=_prefixes(user, rules))
