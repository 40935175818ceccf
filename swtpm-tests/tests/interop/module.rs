//! The module as a file.

use std::process::Command;

use twinseal_swtpm_tests::program;

use crate::stage::Stage;

#[test]
fn only_functions_of_pkcs11_are_exported() {
    let module = program("libtwinseal_pkcs11.so");
    let symbols = Command::new("nm").args(["-D", "--defined-only"]).arg(&module).output().unwrap();
    let symbols = String::from_utf8(symbols.stdout).unwrap();
    let names: Vec<&str> = symbols.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(names.len(), 92, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("C_")), "{names:?}");
    // Nothing but the C library comes along.
    let needed = Command::new("readelf").arg("-d").arg(&module).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    let needed = needed.lines().filter(|line| line.contains("(NEEDED)"));
    let foreign =
        |line: &&str| !["libc.so", "libgcc_s.so", "ld-linux"].iter().any(|l| line.contains(l));
    assert_eq!(needed.filter(foreign).collect::<Vec<_>>(), Vec::<&str>::new());
    let undefined = Command::new("nm").args(["-D", "--undefined-only"]).arg(&module).output();
    let undefined = String::from_utf8(undefined.unwrap().stdout).unwrap();
    assert!(undefined.contains("memcpy"), "{undefined}");
    for never in ["pthread_create", " atexit", "on_exit", "pthread_atfork", "fork"] {
        assert!(!undefined.contains(never), "{never}: {undefined}");
    }
}

#[test]
fn a_program_gets_no_thread_forks_as_it_likes_and_unloads_it() {
    let stage = Stage::new();
    let script = stage.file("host.py", include_str!("../../fixture/interop/host.py"));
    let printed = stage.ok("/usr/bin/python3", &[&script, &stage.module]);
    let expected = [
        "threads: 1 1",
        "child before: 0 1",
        "child after: 0x190 0 1",
        "parent after: 0 1",
        "children of a busy parent: 40",
        "unloaded: True",
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{printed}");
}
