//! What every chip does for the hardware crate, whatever it is: the same functions on an emulated
//! TPM and on tokens in software, each as a test of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod application;
mod bench;
mod changes;
mod keys;
mod turns;

use twinseal_swtpm_tests::ChipKind::{Token, Tpm};
use twinseal_swtpm_tests::TokenKind::{Kryoptic, KryopticRsa, SoftHsm};

macro_rules! tests_on {
    ($chip:ident, $kind:expr; $($module:ident: $($function:ident)*;)*) => {
        mod $chip {
            $($(
                #[tokio::test]
                async fn $function() {
                    crate::$module::$function(&crate::bench::Bench::with($kind)).await;
                }
            )*)*
        }
    };
}

/// The first block on every chip, the second on those that know every algorithm.
macro_rules! tests_on_every_chip {
    ({ $($all:tt)* } { $($algorithms:tt)* }) => {
        tests_on!(swtpm, crate::Tpm; $($all)* $($algorithms)*);
        tests_on!(softhsm, crate::Token(crate::SoftHsm); $($all)* $($algorithms)*);
        tests_on!(kryoptic, crate::Token(crate::Kryoptic); $($all)* $($algorithms)*);
        tests_on!(kryoptic_rsa, crate::Token(crate::KryopticRsa); $($all)*);
    };
}

tests_on_every_chip! {{
    keys:
        it_describes_itself
        stored_keys_are_recognised
        signatures_verify_and_have_a_low_s
        secrets_come_to_the_same_on_both_sides
        each_key_does_one_thing
        points_off_the_curve_do_not_reach_the_chip
        random_bytes_differ
        nothing_but_the_keys_is_left;
    changes:
        another_chip_is_told_from_the_true_one
        a_chip_that_has_lost_the_keys_says_so_and_makes_new_ones
        keys_of_another_kind_of_chip_are_another_chips;
    turns:
        a_thousand_requests_of_one_do_not_hold_up_another
        one_too_many_is_busy_and_the_others_are_served
        sixty_four_callers_each_get_their_signature
        what_comes_too_late_is_over
        closing_cancels_what_waits;
} {
    application:
        algorithms_are_described
        ecc_keys_sign_any_digest_and_agree
        rsa_keys_sign_and_decrypt_in_every_scheme
        a_secret_authenticates_data
        a_key_does_what_it_was_made_for_in_the_chip_that_made_it;
}}
