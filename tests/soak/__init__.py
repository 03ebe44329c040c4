"""A month of the leader with every fault, in simulated time."""
