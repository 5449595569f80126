"""What every command is: its arity, flags, keys, and what the gate does with it. Data only; knows no store."""
