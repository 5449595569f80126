"""What an operator asks the gate: COMMAND, CLIENT, INFO, CONFIG GET, GATE and their kin. Every reply is made here."""
