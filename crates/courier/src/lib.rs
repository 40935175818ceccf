//! Carries sealed bytes between an agent and a server.
