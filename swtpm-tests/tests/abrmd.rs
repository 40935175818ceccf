//! The private resource manager serves processes that ask for it, and only those.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

use twinseal_swtpm_tests::{Abrmd, Swtpm, is_child, rerun};

#[test]
fn it_holds_more_objects_than_the_chip() {
    let chip = Swtpm::start();
    let abrmd = Abrmd::start(&chip);
    let folder = tempfile::tempdir().unwrap();
    // Each tool leaves its object behind on a bare TPM, which has three slots.
    for n in 0..5 {
        let context = folder.path().join(n.to_string());
        let output = primary(&mut abrmd.command("tpm2_createprimary"), &context);
        assert!(output.status.success(), "{n}: {output:?}");
    }
    drop(abrmd);
    let results: Vec<bool> = (0..5)
        .map(|n| {
            let context = folder.path().join(format!("bare{n}"));
            let mut command = Command::new("tpm2_createprimary");
            command.env("TPM2TOOLS_TCTI", chip.tcti());
            primary(&mut command, &context).status.success()
        })
        .collect();
    assert_eq!(results, [true, true, true, false, false]);
}

#[test]
fn a_test_reaches_it_as_a_child() {
    if is_child() {
        let chip = Command::new("tpm2_readpublic").args(["-c", "0x81010001"]).output().unwrap();
        assert!(chip.status.success(), "{chip:?}");
        return;
    }
    let chip = Swtpm::start();
    let abrmd = Abrmd::start(&chip);
    rerun("a_test_reaches_it_as_a_child", |test| abrmd.command(test));
}

#[test]
#[should_panic(expected = "child:")]
fn a_child_that_runs_no_test_is_a_failure() {
    rerun("no_such_test", |test| Command::new(test));
}

fn primary(command: &mut Command, context: &std::path::Path) -> Output {
    command.args(["-C", "o", "-G", "ecc", "-c"]).arg(context).output().unwrap()
}
