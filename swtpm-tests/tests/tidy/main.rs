//! The rules of the house, read off the tree itself.
//!
//! Each rule is a function from a file to its findings, one test that runs it over the tree, and
//! one that shows it a small offender, so that no rule is a rule in name only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod budgets;
mod documents;
mod imports;
mod tree;
mod words;
