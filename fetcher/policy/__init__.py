"""Rules as pure functions and values: no clock, no I/O, no randomness but what is handed in."""
