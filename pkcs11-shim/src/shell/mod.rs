//! The outer shell: the functions that a program calls, in C.
//!
//! Each follows its pointers by way of [`raw`], does its work in safe code, and returns a
//! `CK_RV`, come what may.

mod crypto;
mod general;
mod process;
mod raw;
mod tables;
#[cfg(test)]
mod tests;
mod unsupported;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cryptoki_sys::*;

use crate::rv::{Result, Rv};

/// Functions of PKCS#11. Their bodies may follow pointers: these are null, or what their type and
/// the length beside them say, else the caller has broken its side of the contract (PKCS #11
/// base 2.40, section 5).
macro_rules! entries {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        #[unsafe(no_mangle)]
        #[allow(non_snake_case, unused_unsafe, clippy::too_many_arguments)]
        pub(super) unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
            // SAFETY: see above.
            $crate::shell::guarded(|| unsafe { $body })
        }
    )*};
}
use entries;

/// No panic leaves: the program is in another language.
fn guarded(body: impl FnOnce() -> Result<()>) -> CK_RV {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => CKR_OK,
        Ok(Err(Rv(value))) => value,
        Err(_) => CKR_GENERAL_ERROR,
    }
}
