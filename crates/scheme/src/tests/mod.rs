//! Tests of the primitives as this crate calls them.

mod salamander;
mod wycheproof;
