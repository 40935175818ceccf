//! One visit after the other, and how many there were.

use std::io::Write;
use std::time::Instant;

/// Whether every point is visited.
pub fn is_whole() -> bool {
    std::env::var("TWINSEAL_TEST_ALL").is_ok_and(|value| value == "1")
}

/// Visits the points of a sample; in a whole sweep point 1, 2, and so on, until a visit says that
/// its run was over before its point came. Prints and gives the number of points that came.
pub fn sweep(name: &str, sample: &[u32], mut visit: impl FnMut(u32) -> bool) -> usize {
    let start = Instant::now();
    let visited = match is_whole() {
        true => (1..).take_while(|point| visit(*point)).count(),
        false => sample.iter().filter(|point| visit(**point)).count(),
    };
    say(&format!("{name}: {visited} points, {} s", start.elapsed().as_secs()));
    visited
}

/// Prints a line also where the test runner keeps what a test prints to itself.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
