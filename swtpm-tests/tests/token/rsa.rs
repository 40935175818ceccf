//! The hardware crate on tokens that know no elliptic curves, or are to use RSA all the same.

use twinseal_hardware::{
    ChipKeys, Error, Hardware, KeyFamily, TokenConfig, TokenFault, TokenKeys, draw_token_ids,
};
use twinseal_scheme::keys::{DecryptionAlgorithm, Encapsulation, OaepHash, SigningAlgorithm};
use twinseal_swtpm_tests::{ModuleMishap, Token, TokenKind};

use crate::rig::{Rig, drawn_for, signs};

const AGREES: DecryptionAlgorithm = DecryptionAlgorithm::EcdhEs;
const SHA256: DecryptionAlgorithm = DecryptionAlgorithm::RsaOaep(OaepHash::Sha256);
const SHA1: DecryptionAlgorithm = DecryptionAlgorithm::RsaOaep(OaepHash::Sha1);

/// SoftHSM without elliptic curves: its OAEP is with SHA-1.
fn without_curves() -> Rig {
    let rig = Rig::of(Token::of(TokenKind::SoftHsm));
    rig.module.set(ModuleMishap::Rsa);
    rig
}

/// How the keys sign, decrypt, and come to CK_0.
fn algorithms(keys: &TokenKeys) -> (SigningAlgorithm, DecryptionAlgorithm, DecryptionAlgorithm) {
    let [decryption, serial] = [&keys.decryption, &keys.serial].map(|key| key.public().algorithm());
    (keys.signing.public().algorithm(), decryption, serial)
}

/// Each key does what its public half says, also when it was stored, and in a new session.
async fn all_work(hardware: &Hardware, keys: &TokenKeys) {
    let lane = hardware.lane(0);
    let stored = ChipKeys::from_bytes(&ChipKeys::from(keys).to_bytes()).expect("stored keys");
    for _ in 0..2 {
        signs(&lane, &stored).await;
        let (sealed, secret) = drawn_for(keys.decryption.public());
        assert_eq!(lane.decapsulate(stored.decryption(), &sealed).await, Ok(secret));
        let (sealed, secret) = drawn_for(keys.serial.public());
        assert_eq!(lane.decapsulate_serial(&stored, &sealed).await, Ok(secret));
        lane.recognise(&stored).await.expect("the same token");
    }
}

#[tokio::test]
async fn a_token_without_elliptic_curves_gets_keys_of_rsa_that_do_one_thing_each() {
    let rig = without_curves();
    let hardware = rig.open();
    let keys = hardware.lane(0).create_token_keys(draw_token_ids()).await.expect("keys");
    assert_eq!(algorithms(&keys), (SigningAlgorithm::Ps256, SHA1, SHA1));
    assert_eq!(rig.token.private_uses(), ["decrypt", "decrypt", "sign"]);
    all_work(&hardware, &keys).await;
}

#[tokio::test]
async fn a_token_that_knows_sha256_in_oaep_gets_that_and_one_without_pss_signs_without() {
    let always = ["CKM_RSA_PKCS_KEY_PAIR_GEN", "CKM_RSA_PKCS_OAEP"];
    for (signs, algorithm) in
        [("CKM_RSA_PKCS_PSS", SigningAlgorithm::Ps256), ("CKM_RSA_PKCS", SigningAlgorithm::Rs256)]
    {
        let rig = Rig::of(Token::with_mechanisms(&[always[0], always[1], signs]));
        let hardware = rig.open();
        let keys = hardware.lane(0).create_token_keys(draw_token_ids()).await.expect("keys");
        assert_eq!(algorithms(&keys), (algorithm, SHA256, SHA256));
        all_work(&hardware, &keys).await;
    }
}

#[tokio::test]
async fn rsa_may_be_preferred_and_the_serial_key_agrees_all_the_same() {
    for (kind, oaep) in [(TokenKind::SoftHsm, SHA1), (TokenKind::Kryoptic, SHA256)] {
        let rig = Rig::of(Token::of(kind));
        let config = TokenConfig { prefer: KeyFamily::Rsa, ..rig.config() };
        let hardware = Hardware::open_token(config).expect("a thread");
        let keys = hardware.lane(0).create_token_keys(draw_token_ids()).await.expect("keys");
        assert_eq!(algorithms(&keys), (SigningAlgorithm::Ps256, oaep, AGREES));
        assert_eq!(rig.token.private_uses(), ["decrypt", "derive", "sign"]);
        all_work(&hardware, &keys).await;
    }
}

#[tokio::test]
async fn without_rsa_none_is_had_for_asking() {
    let curves = ["CKM_EC_KEY_PAIR_GEN", "CKM_ECDSA", "CKM_ECDH1_DERIVE"];
    let rig = Rig::of(Token::with_mechanisms(&curves));
    let config = TokenConfig { prefer: KeyFamily::Rsa, ..rig.config() };
    let preferring = Hardware::open_token(config).expect("a thread");
    let error = preferring.lane(0).create_token_keys(draw_token_ids()).await.unwrap_err();
    assert_eq!(error, Error::Token(TokenFault::Incapable("RSA signatures".into())));
    preferring.close().await;
    assert!(rig.token.public_keys().is_empty());
    let hardware = rig.open();
    let keys = hardware.lane(0).create_token_keys(draw_token_ids()).await.expect("keys");
    assert_eq!(algorithms(&keys), (SigningAlgorithm::Es256, AGREES, AGREES));
}

#[tokio::test]
async fn a_token_that_decrypts_with_another_key_is_found_out_when_keys_are_made_and_at_the_start() {
    let rig = without_curves();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    let keys = lane.create_token_keys(draw_token_ids()).await.expect("keys");
    rig.module.set(ModuleMishap::Junk);
    let refused = |error: Error| assert_eq!(error.code(), "incapable", "{error}");
    refused(lane.recognise(&keys).await.unwrap_err());
    // Begun later, it gives bytes like any others, and whoever uses them finds out.
    let (sealed, secret) = drawn_for(keys.decryption.public());
    let opened = lane.decapsulate(&keys.decryption, &sealed).await.expect("some bytes");
    assert!(opened != secret);
    rig.module.set(ModuleMishap::Rsa);
    lane.recognise(&keys).await.expect("itself again");
    lane.destroy_in_token(keys.ids().to_vec()).await.expect("room again");

    let config = TokenConfig { prefer: KeyFamily::Rsa, ..rig.config() };
    let preferring = Hardware::open_token(config).expect("a thread");
    rig.module.set(ModuleMishap::Junk);
    refused(preferring.lane(0).create_token_keys(draw_token_ids()).await.unwrap_err());
    assert!(rig.token.public_keys().is_empty());
}

#[tokio::test]
async fn junk_for_an_rsa_key_is_refused_and_harms_nobody() {
    for rig in [without_curves(), Rig::of(Token::of(TokenKind::Kryoptic))] {
        let config = TokenConfig { prefer: KeyFamily::Rsa, ..rig.config() };
        let hardware = Hardware::open_token(config).expect("a thread");
        let lane = hardware.lane(0);
        let keys = lane.create_token_keys(draw_token_ids()).await.expect("keys");
        let key = &keys.decryption;
        let (sealed, secret) = drawn_for(key.public());
        let Encapsulation::RsaOaep(hash, good) = &sealed else { panic!("{sealed:?}") };
        let mut changed = **good;
        changed[200] ^= 1;
        let (of_another, _) = drawn_for(&match keys.signing.public() {
            twinseal_scheme::keys::SigningPublic::Ps256(other) => {
                twinseal_scheme::keys::DecryptionPublic::RsaOaep(*hash, other.clone())
            }
            other => panic!("{other:?}"),
        });
        let of_another = of_another.bytes().try_into().expect("256 bytes");
        for junk in [[0; 256], [0xff; 256], changed, of_another] {
            let refused = lane.decrypt(key, junk).await;
            assert_eq!(refused.expect_err("junk").code(), "rejected");
            let opened = lane.decapsulate(key, &sealed).await.expect("the secret");
            assert!(opened == secret);
        }
    }
}
