//! Keeps a device's keys in its chip, seals and opens; no network.
