//! The tap hears what goes to the chip, and fails the command that it was told to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

use twinseal_swtpm_tests::{Swtpm, Tap};

const GET_RANDOM: u32 = 0x17b;
const RETRY: u32 = 0x922;

#[test]
fn it_hears_commands_and_answers() {
    let chip = Swtpm::start();
    let tap = Tap::on(&chip);
    let random = tool(&tap, "tpm2_getrandom", &["--hex", "16"]);
    let heard = tap.exchanges();
    let exchange = heard.iter().find(|e| e.command_code() == GET_RANDOM).unwrap();
    assert_eq!(exchange.response_code(), 0);
    let answer: String = exchange.response[12..].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(answer, String::from_utf8(random.stdout).unwrap());
}

/// The tool meets every failure once, until a run passes that met none.
#[test]
fn it_fails_each_command_in_turn() {
    let chip = Swtpm::start();
    let tap = Tap::on(&chip);
    let mut met = 0;
    loop {
        tap.fail_after(met, 0x101);
        let output = tool(&tap, "tpm2_createprimary", &["-C", "o", "-Q"]);
        chip.tool("tpm2_flushcontext", &["-t"]);
        if tap.take_fault() {
            assert!(output.status.success(), "{output:?}");
            break;
        }
        met += 1;
    }
    assert!(met >= 2, "{met}");
    let failed = tap.exchanges().iter().filter(|e| e.response_code() == 0x101).count();
    assert_eq!(failed, met as usize);
}

#[test]
fn a_chip_that_says_retry_is_asked_again() {
    let chip = Swtpm::start();
    let tap = Tap::on(&chip);
    tap.fail_after(0, RETRY);
    assert!(tool(&tap, "tpm2_getrandom", &["8"]).status.success());
    assert_eq!(tap.exchanges()[0].response_code(), RETRY);
    assert_eq!(tap.exchanges()[1].command, tap.exchanges()[0].command);
}

fn tool(tap: &Tap, program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).env("TPM2TOOLS_TCTI", tap.tcti()).output().unwrap()
}
