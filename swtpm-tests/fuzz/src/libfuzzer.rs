//! One target under libFuzzer: the one that `TWINSEAL_FUZZ_TARGET` names, with its seeds written
//! into the folder `TWINSEAL_FUZZ_SEEDS`. See `scripts/fuzz`.
#![no_main]
// libFuzzer is C++ and finds the function that it calls by its name.
#![allow(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic)]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use twinseal_fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("TWINSEAL_FUZZ_TARGET").expect("TWINSEAL_FUZZ_TARGET");
    Target::named(&name).unwrap_or_else(|| panic!("no target {name}"))
});

/// libFuzzer reads the folder after this.
fn write_seeds() {
    let folder = std::env::var_os("TWINSEAL_FUZZ_SEEDS").expect("TWINSEAL_FUZZ_SEEDS");
    for (number, seed) in (TARGET.seeds)().iter().enumerate() {
        let file = std::path::Path::new(&folder).join(format!("seed-{number}"));
        std::fs::write(file, seed).expect("a seed");
    }
}

fuzz_target!(init: write_seeds(), |data: &[u8]| {
    (TARGET.run)(data);
});
