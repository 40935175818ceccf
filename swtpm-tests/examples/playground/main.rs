//! A device, a server and a key of an application, which run until this program is told to end.
//! `scripts/playground` starts it: `playground FOLDER UID GID [token]`, for the person of these
//! numbers.
//!
//! It writes the file `env`, prints `ready` and waits for a line on its standard input. If that
//! ends before the line, whoever started it has gone, and it goes, too. SIGTERM ends it later.
//! However it ends, all that it started ends with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod stack;

use std::io::{Write as _, stdin, stdout};
use std::path::PathBuf;
use std::process::{Command, exit};
use std::thread;

use stack::Stack;
use tokio::signal::unix::{SignalKind, signal};
use twinseal_swtpm_tests::User;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut terminate = signal(SignalKind::terminate()).expect("a handler");
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("FOLDER UID GID [token]");
    let folder = PathBuf::from(next());
    let [uid, gid] = [next(), next()].map(|number| number.parse().expect("a number"));
    let person = if uid == 0 { User::Root } else { User::Person(uid, gid) };
    let has_token = arguments.next().is_some_and(|word| word == "token");

    leave_with_the_starter();
    let stack = thread::spawn(move || Stack::start(&folder, person, has_token));
    // A thread that has panicked has said why.
    let Ok(stack) = tokio::task::spawn_blocking(|| stack.join()).await.expect("a thread") else {
        end_all()
    };
    let _ = writeln!(stdout(), "ready");
    terminate.recv().await;
    drop(stack);
    // The thread that reads standard input would be waited for.
    exit(0);
}

/// Until he has said that he needs this no longer.
fn leave_with_the_starter() {
    thread::spawn(|| {
        if stdin().lines().next().is_none() {
            end_all();
        }
    });
}

/// At once, and whatever is under way with it: this program leads a process group of its own.
fn end_all() -> ! {
    let _ = Command::new("sh").args(["-c", "kill -KILL 0"]).status();
    exit(1)
}
