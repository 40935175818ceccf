//! The story of two devices, a server and an impostor, told step by step. `scripts/demo` runs it;
//! with `--json` it prints one object a step. It ends with status 1 if a step is not as said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "../../tests/claims/thief.rs"]
mod thief;
#[path = "../../tests/claims/wire.rs"]
mod wire;

mod story;
mod tell;

use std::process::ExitCode;

use tell::Teller;
use twinseal_swtpm_tests::World;

fn main() -> ExitCode {
    let mut teller = Teller::new(std::env::args().any(|argument| argument == "--json"));
    teller.say(
        "Starting a server, and for each of two devices a chip, a bus, an agent and a courier…",
    );
    let world = World::start();
    story::tell(&mut teller, &world);
    teller.end()
}
