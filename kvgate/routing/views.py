"""Which of the namespaces' rules matter to a user: the grants and the rules, put together."""

from kvgate.policy.users import User
from kvgate.routing.namespaces import Namespace, Namespaces


def visible_rules(user: User, namespaces: Namespaces, backend: str) -> tuple[Namespace, ...]:
    """The rules that lead to the backend and of which the user may see something; without any, the store is none of theirs."""
    return tuple(rule for rule in namespaces.on(backend) if user.sees_some(rule))
