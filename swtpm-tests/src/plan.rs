//! What is to go wrong, and when.

/// Counts what goes by, and names the one thing that something is to happen to.
#[derive(Debug)]
pub(crate) struct Plan<M> {
    passed: u32,
    due: Option<(u32, M)>,
}

impl<M> Default for Plan<M> {
    fn default() -> Self {
        Self { passed: 0, due: None }
    }
}

impl<M> Plan<M> {
    /// Counts from the beginning, and plans `mishap` for the `nth`, which is 1 for the next.
    pub(crate) fn set(&mut self, nth: u32, mishap: M) {
        *self = Self { passed: 0, due: Some((nth, mishap)) };
    }

    /// One more has come; gives what is to happen to it.
    pub(crate) fn pass(&mut self) -> Option<M> {
        self.passed += 1;
        let is_due = self.due.as_ref().is_some_and(|(nth, _)| self.passed >= *nth);
        is_due.then(|| self.due.take()).flatten().map(|(_, mishap)| mishap)
    }

    /// Whether what was planned is still to come; forgets it.
    pub(crate) fn take(&mut self) -> bool {
        self.due.take().is_some()
    }
}

/// Ends a process at once, as a crash would.
pub(crate) fn kill(pid: u32) {
    let mut kill = std::process::Command::new("kill");
    // It may have ended already, which is what is wanted.
    let _ = kill.args(["-KILL", &pid.to_string()]).stderr(std::process::Stdio::null()).status();
}
