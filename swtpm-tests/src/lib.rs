//! A world of private TPMs, buses, agents and servers to test in.
