"""Who may do what: users, their passwords, command rules and namespaces. Knows no store and no socket."""
