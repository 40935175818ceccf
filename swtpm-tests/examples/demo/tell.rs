//! How the story is told: for people, or one JSON object a step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;

/// Tells steps, and remembers whether all were as said.
pub struct Teller {
    is_json: bool,
    steps: u32,
    failures: u32,
    began: Instant,
}

impl Teller {
    pub fn new(is_json: bool) -> Teller {
        if is_json {
            // What goes wrong in a step is told as its detail.
            std::panic::set_hook(Box::new(|_| ()));
        }
        Teller { is_json, steps: 0, failures: 0, began: Instant::now() }
    }

    /// Something between the steps.
    pub fn say(&self, text: &str) {
        if !self.is_json {
            println!("{text}\n");
        }
    }

    /// Does a step and tells how it went: `claim` is what of the patent it shows, `done` gives
    /// what was seen, or why it was not as said. Later steps go on with what it returns.
    pub fn step<T>(
        &mut self,
        claim: &str,
        what: &str,
        done: impl FnOnce() -> (T, String),
    ) -> Option<T> {
        self.steps += 1;
        let (value, detail) = match catch_unwind(AssertUnwindSafe(done)) {
            Ok((value, detail)) => (Some(value), detail),
            Err(panic) => (None, reason(&*panic)),
        };
        let ok = value.is_some();
        self.failures += u32::from(!ok);
        if self.is_json {
            let object = json!({
                "step": self.steps, "what": what, "claim": claim, "ok": ok, "detail": detail,
            });
            println!("{object}");
        } else {
            let mark = if ok { "✓" } else { "✗ NOT AS SAID" };
            println!("{mark} {}. {what}  [{claim}]", self.steps);
            detail.lines().for_each(|line| println!("     {line}"));
            println!();
        }
        value
    }

    pub fn end(self) -> ExitCode {
        let seconds = self.began.elapsed().as_secs();
        let (steps, failures) = (self.steps, self.failures);
        if failures == 0 {
            self.say(&format!("All {steps} steps were as said, in {seconds} s."));
            return ExitCode::SUCCESS;
        }
        self.say(&format!("{failures} of {steps} steps were NOT as said."));
        ExitCode::FAILURE
    }
}

fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "it failed without a word".to_owned())
}
