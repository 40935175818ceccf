//! A test that runs itself again as a child, because what it needs belongs to a whole process:
//! an environment, a user, or a sudden end.

use std::path::Path;
use std::process::{Command, Stdio};

const MARK: &str = "TWINSEAL_TEST_CHILD";

/// Whether this process was started by [`rerun`] or [`rerun_command`].
pub fn is_child() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs the test named `test` of this test program in a child, which `start` makes of the
/// program's path, and waits for it.
///
/// # Panics
/// When the test fails there; the message holds what it printed.
pub fn rerun(test: &str, start: impl FnOnce(&Path) -> Command) {
    let output = rerun_command(test, start).output().expect("a child");
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    // A misspelt name would run nothing and succeed.
    let ran = printed.contains("1 passed");
    assert!(output.status.success() && ran, "{test}, child:\n{printed}");
}

/// As [`rerun`], but left to the caller to start and to end.
pub fn rerun_command(test: &str, start: impl FnOnce(&Path) -> Command) -> Command {
    let program = std::env::current_exe().expect("a test program knows its path");
    let mut command = start(&program);
    command.args(["--exact", test, "--nocapture"]).env(MARK, test).stdin(Stdio::null());
    command
}
