//! Whose keys they are.

use twinseal_hardware::ChipKeys;
use twinseal_swtpm_tests::ChipKind;

use crate::bench::{Bench, Publics, opens, refusals, signs};

pub async fn another_chip_is_told_from_the_true_one(bench: &Bench) {
    let (hardware, keys) = bench.enrolled().await;
    hardware.lane(0).recognise(&keys).await.expect("the same chip");
    let other = Bench::with(bench.chip.kind());
    let (others, _) = other.enrolled().await;
    let lane = others.lane(0);
    assert_eq!(lane.recognise(&keys).await.unwrap_err().code(), "replaced");
    assert_eq!(lane.sign(keys.signing(), [1; 32]).await.unwrap_err().code(), "cleared");
    assert_eq!(refusals(&lane, &keys).await, ["cleared"; 2]);
}

pub async fn a_chip_that_has_lost_the_keys_says_so_and_makes_new_ones(bench: &Bench) {
    let (hardware, keys) = bench.enrolled().await;
    hardware.close().await;
    bench.chip.lose_keys();
    let lane = bench.open().lane(0);
    assert_eq!(lane.recognise(&keys).await.unwrap_err().code(), "cleared");
    assert_eq!(lane.sign(keys.signing(), [1; 32]).await.unwrap_err().code(), "cleared");
    let again = bench.create_keys(&lane).await;
    lane.recognise(&again).await.expect("the same chip");
    signs(&lane, &again).await;
    opens(&lane, &again.decryption(), &Publics::of(&again).decryption).await;
}

pub async fn keys_of_another_kind_of_chip_are_another_chips(bench: &Bench) {
    let (hardware, own) = bench.enrolled().await;
    let other = ChipKind::ALL.into_iter().find(|kind| kind.word() != bench.chip.kind().word());
    let other = Bench::with(other.expect("two kinds"));
    let (others, keys) = other.enrolled().await;
    let lane = hardware.lane(0);
    assert_eq!(lane.recognise(&keys).await.unwrap_err().code(), "replaced");
    let expected = match own {
        ChipKeys::Tpm(_) => "misuse",
        ChipKeys::Token(_) => "incapable",
    };
    assert_eq!(lane.sign(keys.signing(), [1; 32]).await.unwrap_err().code(), expected);
    assert_eq!(refusals(&lane, &keys).await, [expected; 2]);
    signs(&lane, &own).await;
    signs(&others.lane(0), &keys).await;
}
