//! Enrols devices and trades with them.
