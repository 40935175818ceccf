//! Counts what is said to and by the agent on its bus, and ends a program at one of it.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::bus::{Bus, User};
use crate::plan::{Plan, kill};

/// Hears the calls of the agent's own methods and the answers to them, as `dbus-monitor` does: at
/// the moment at which the bus passes them on. Properties that are read are not counted, since
/// that changes nothing.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    plan: Arc<Mutex<Plan<u32>>>,
}

impl Monitor {
    /// Hears this bus; the agent may come and go.
    ///
    /// # Panics
    /// When `dbus-monitor` does not start.
    pub fn of(bus: &Bus) -> Self {
        let mut child = bus
            .command(User::Root, "dbus-monitor")
            .args(["--system", "--profile"])
            .args(["sender='org.twinseal.Agent1'", "destination='org.twinseal.Agent1'"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-monitor");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        // The head of the table: it listens.
        lines.next().expect("a line").expect("text");
        let plan = Arc::new(Mutex::new(Plan::default()));
        let shared = Arc::clone(&plan);
        thread::spawn(move || {
            let mut calls = HashSet::new();
            for _ in lines.map_while(Result::ok).filter(|line| counts(line, &mut calls)) {
                let victim = shared.lock().unwrap_or_else(PoisonError::into_inner).pass();
                if let Some(pid) = victim {
                    kill(pid);
                }
            }
        });
        Self { child, plan }
    }

    /// This process is killed at the `nth` call or answer from now on, which is 1 for the next.
    pub fn kill_at(&self, nth: u32, pid: u32) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).set(nth, pid);
    }

    /// Whether what was asked for is still to come; forgets it.
    pub fn take_mishap(&self) -> bool {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this line of the table is a call that counts, or the answer to one of `calls`, which
/// are known by the caller's name and number.
fn counts(line: &str, calls: &mut HashSet<(String, String)>) -> bool {
    let fields: Vec<&str> = line.split('\t').collect();
    match fields[..] {
        ["mc", _, number, caller, _, _, interface, _] => {
            let counts = interface.starts_with("org.twinseal.");
            counts && calls.insert((caller.to_owned(), number.to_owned()))
        }
        ["mr" | "err", _, _, _, caller, number] => {
            calls.remove(&(caller.to_owned(), number.to_owned()))
        }
        _ => false,
    }
}
