//! Keys: what they are, what they do, and what they do not.

use twinseal_hardware::{ChipKeys, Kind};
use twinseal_scheme::keys::{DecryptionAlgorithm, SigningAlgorithm, low_s};
use twinseal_swtpm_tests::{Chip, ChipKind};

use crate::bench::{Bench, Publics, opens, opens_serial, point, signs};

pub async fn it_describes_itself(bench: &Bench) {
    let lane = bench.open().lane(0);
    let description = lane.describe().await.expect("a description");
    let kind = match bench.chip.kind() {
        ChipKind::Tpm => Kind::Tpm,
        ChipKind::Token(_) => Kind::Token,
    };
    assert_eq!(description.kind, kind);
    assert!(!description.manufacturer.is_empty() && !description.model.is_empty());
    assert!(!description.lockout.locked_out);
    assert_eq!(lane.lockout().await.expect("how it stands"), description.lockout);
}

pub async fn stored_keys_are_recognised(bench: &Bench) {
    let (hardware, keys) = bench.enrolled().await;
    signs(&hardware.lane(0), &keys).await;
    let stored = keys.to_bytes();
    hardware.close().await;
    // Another process on another day.
    let keys = ChipKeys::from_bytes(&stored).expect("stored keys");
    let lane = bench.open().lane(0);
    lane.recognise(&keys).await.expect("the same chip");
    signs(&lane, &keys).await;
    opens(&lane, &keys.decryption(), &Publics::of(&keys).decryption).await;
}

pub async fn signatures_verify_and_have_a_low_s(bench: &Bench) {
    let (hardware, keys) = bench.enrolled().await;
    // Half of what a chip makes is high.
    for _ in 0..40 {
        let signature = signs(&hardware.lane(0), &keys).await;
        if Publics::of(&keys).signing.algorithm() == SigningAlgorithm::Es256 {
            let mut low = signature.as_slice().try_into().expect("64 bytes");
            low_s(&mut low);
            assert_eq!(signature, low);
        }
    }
}

pub async fn secrets_come_to_the_same_on_both_sides(bench: &Bench) {
    let (hardware, keys) = bench.enrolled().await;
    let (lane, publics) = (hardware.lane(0), Publics::of(&keys));
    // Of 300 agreements one or two begin with a zero, which some leave out.
    let agrees = publics.decryption.algorithm() == DecryptionAlgorithm::EcdhEs;
    for _ in 0..if agrees { 300 } else { 20 } {
        opens(&lane, &keys.decryption(), &publics.decryption).await;
    }
    for _ in 0..3 {
        opens_serial(&lane, &keys).await;
    }
}

pub async fn each_key_does_one_thing(bench: &Bench) {
    let (hardware, keys) = bench.enrolled().await;
    let lane = hardware.lane(0);
    // A TPM refuses it; a token is not even asked, and would refuse it too.
    let code = if bench.chip.kind() == ChipKind::Tpm { "failed" } else { "misuse" };
    let refused = lane.agree(keys.signing(), point()).await.unwrap_err();
    assert_eq!(refused.code(), code, "{refused}");
    let refused = lane.sign(keys.decryption(), [1; 32]).await.unwrap_err();
    assert_eq!(refused.code(), code, "{refused}");
    if let Chip::Token(token) = &bench.chip {
        let opens = match Publics::of(&keys).serial.algorithm() {
            DecryptionAlgorithm::EcdhEs => "derive",
            DecryptionAlgorithm::RsaOaep(_) => "decrypt",
        };
        assert_eq!(token.private_uses(), [opens, opens, "sign"]);
        // What belongs to TPMs is refused before the token is asked.
        assert_eq!(lane.endorsement_key(None).await.unwrap_err().code(), "incapable");
    }
    signs(&lane, &keys).await;
    opens(&lane, &keys.decryption(), &Publics::of(&keys).decryption).await;
}

pub async fn points_off_the_curve_do_not_reach_the_chip(bench: &Bench) {
    let (hardware, keys) = bench.enrolled().await;
    let lane = hardware.lane(0);
    if Publics::of(&keys).serial.algorithm() != DecryptionAlgorithm::EcdhEs {
        assert_eq!(lane.agree(keys.decryption(), point()).await.unwrap_err().code(), "failed");
        return;
    }
    let mut near = point();
    near[64] ^= 1;
    let mut compressed = point();
    compressed[0] = 2;
    for wrong in [near, compressed, [0; 65], [0xff; 65]] {
        assert_eq!(lane.agree(keys.decryption(), wrong).await.unwrap_err().code(), "misuse");
        assert_eq!(lane.agree_serial(&keys, wrong).await.unwrap_err().code(), "misuse");
    }
    // With no chip at all the answer is the same.
    hardware.close().await;
    assert_eq!(lane.agree(keys.decryption(), near).await.unwrap_err().code(), "misuse");
    assert_eq!(lane.agree(keys.decryption(), point()).await.unwrap_err().code(), "cancelled");
}

pub async fn random_bytes_differ(bench: &Bench) {
    let lane = bench.open().lane(0);
    let mut drawn = Vec::new();
    for length in [1, 32, 100, 4096, 4096] {
        let bytes = lane.random(length).await.expect("random bytes");
        assert_eq!(bytes.len(), length);
        drawn.push(bytes);
    }
    assert_ne!(drawn[3], drawn[4]);
    assert_eq!(lane.random(4097).await.unwrap_err().code(), "misuse");
}

/// Neither loaded objects nor sessions in a TPM, nor secrets that were agreed on in a token.
pub async fn nothing_but_the_keys_is_left(bench: &Bench) {
    let before = bench.chip.contents();
    let (hardware, keys) = bench.enrolled().await;
    let lane = hardware.lane(0);
    for _ in 0..3 {
        signs(&lane, &keys).await;
        opens(&lane, &keys.decryption(), &Publics::of(&keys).decryption).await;
        opens_serial(&lane, &keys).await;
    }
    hardware.close().await;
    let left = bench.chip.contents();
    let new: Vec<&String> = left.iter().filter(|held| !before.contains(held)).collect();
    match bench.chip.kind() {
        ChipKind::Tpm => assert!(new.is_empty(), "{new:?}"),
        ChipKind::Token(_) => {
            let pairs =
                ["decryption", "serial", "signing"].map(|key| format!("twinseal {key} key"));
            let halves = ["Private Key", "Public Key"];
            let kept = halves.map(|half| pairs.each_ref().map(|pair| format!("{half}: {pair}")));
            assert_eq!(new, kept.as_flattened().iter().collect::<Vec<_>>());
        }
    }
}
