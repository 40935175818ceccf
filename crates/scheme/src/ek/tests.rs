use proptest::prelude::*;

use super::testing::*;
use super::*;
use crate::tpm::PublicKey;
use crate::tpm::testing::{ek_area_of, p256_key, p384_key, rsa_2048_key};

/// The keys in these tests: EK 1, root 2, intermediates 3 and 4.
const ROOT: u8 = 2;
const INTERMEDIATE: u8 = 3;
/// In 2033.
const NOW_S: u64 = 2_000_000_000;

fn ek(key: &PublicKey) -> EndorsementKey {
    EndorsementKey::parse(&ek_area_of(key).bytes()).unwrap()
}

fn root() -> Authorities {
    let mut authorities = Authorities::new();
    authorities.add_root(&Draft::authority("root", "root", ROOT).signed_by(ROOT)).unwrap();
    authorities
}

fn policy(authorities: &Authorities) -> EkPolicy<'_> {
    EkPolicy {
        authorities,
        now_s: NOW_S,
        accept_expired: false,
        denied: &[],
        accept_simulator: false,
        listed: false,
    }
}

/// The verdict on the EK 1 with these certificates.
fn verdict(certificates: &[&[u8]], change: impl FnOnce(&mut EkPolicy<'_>)) -> Verdict {
    let authorities = root();
    let mut policy = policy(&authorities);
    change(&mut policy);
    judge(&ek(&p256_key(1)), certificates, &policy)
}

/// The outcome for an EK certificate that the root signs after `change`.
fn changed(change: impl FnOnce(&mut Draft)) -> Result<Assurance, Reason> {
    let mut draft = Draft::endorsement(&p256_key(1), "root");
    change(&mut draft);
    verdict(&[&draft.signed_by(ROOT)], |_| ()).outcome
}

fn genuine() -> Vec<u8> {
    Draft::endorsement(&p256_key(1), "root").signed_by(ROOT)
}

#[test]
fn a_certificate_signed_by_a_root_is_a_tpm_s() {
    let verdict = verdict(&[&genuine()], |_| ());
    assert_eq!(verdict.outcome, Ok(Assurance::TpmEk));
    let identity = verdict.identity.clone().unwrap();
    assert_eq!(identity.manufacturer, "id:41434D45");
    assert_eq!((identity.model.as_str(), identity.version.as_str()), ("model 7", "id:00070001"));
    let text = verdict.to_string();
    assert!(text.contains("pass: certifies the chip's endorsement key\n"), "{text}");
    assert!(text.contains("pass: (no subject) signed by CN=root, a trusted root\n"), "{text}");
    assert!(text.ends_with("outcome: tpm-ek\n"), "{text}");
}

#[test]
fn every_kind_of_endorsement_key_can_be_certified() {
    let authorities = root();
    let rsa_3072 = PublicKey::rsa(&[0xc5; 384]).unwrap();
    for key in [rsa_2048_key(), rsa_3072, p384_key(1)] {
        let certificate = Draft::endorsement(&key, "root").signed_by(ROOT);
        let verdict = judge(&ek(&key), &[&certificate], &policy(&authorities));
        assert_eq!(verdict.outcome, Ok(Assurance::TpmEk), "{verdict}");
    }
}

#[test]
fn a_key_that_is_marked_for_oaep() {
    let authorities = root();
    let key = rsa_2048_key();
    let mut draft = Draft::endorsement(&key, "root");
    draft.spki = oaep_spki(key.modulus().unwrap());
    let verdict = judge(&ek(&key), &[&draft.signed_by(ROOT)], &policy(&authorities));
    assert_eq!(verdict.outcome, Ok(Assurance::TpmEk));
}

#[test]
fn what_chips_store_around_a_certificate() {
    let der = genuine();
    let padded = [&der[..], &[0xff; 300]].concat();
    let zeros = [&der[..], &[0; 7]].concat();
    let wrapper = |content: &[u8]| {
        [&[0x10, 0x01, 0x00][..], &(content.len() as u16).to_be_bytes(), content].concat()
    };
    let wrapped = [wrapper(&[&[0x10, 0x02][..], &der].concat()), vec![0xff; 9]].concat();
    for stored in [padded, zeros, wrapper(&der), wrapped] {
        assert_eq!(verdict(&[&stored], |_| ()).outcome, Ok(Assurance::TpmEk));
    }
    let followed = [&der[..], &[0xff, 0x00]].concat();
    assert_eq!(verdict(&[&followed], |_| ()).outcome, Err(Reason::EkCertTrailing));
}

#[test]
fn bytes_that_are_no_certificate() {
    let der = genuine();
    let too_long = [&[0x10, 0x01, 0x00, 0xff, 0xff][..], &der].concat();
    for bytes in [&der[..der.len() - 1], &too_long, &[], &[0x30, 0x03, 1, 2, 3]] {
        assert_eq!(verdict(&[bytes], |_| ()).outcome, Err(Reason::EkCertForm));
    }
    assert_eq!(verdict(&[], |_| ()).outcome, Err(Reason::EkCertMissing));
}

#[test]
fn extensions_that_count_stand_there_once_and_can_be_read() {
    let twice = changed(|draft| draft.extensions.push(key_usage(0x08)));
    assert_eq!(twice, Err(Reason::EkCertForm));
    let unreadable =
        changed(|draft| draft.extensions[1] = extension(&[0x55, 0x1d, 0x13], true, &[5]));
    assert_eq!(unreadable, Err(Reason::EkCertForm));
}

#[test]
fn the_key_is_the_chip_s() {
    let other = changed(|draft| draft.spki = p256_key(9).spki_der());
    assert_eq!(other, Err(Reason::EkCertOtherKey));
    // P-256 marked as P-384, and RSA with the exponent 3.
    let marked = changed(|draft| draft.spki = [&p384_key(1).spki_der()[..23], &[4; 97]].concat());
    assert_eq!(marked, Err(Reason::EkCertKey));
}

#[test]
fn one_fault_each() {
    let authority = changed(|draft| draft.extensions[1] = basic_constraints(true, None));
    assert_eq!(authority, Err(Reason::EkCertAuthority));
    let signs = changed(|draft| draft.extensions[0] = key_usage(0x0c));
    assert_eq!(signs, Err(Reason::EkCertAuthority));
    let enciphers = changed(|draft| draft.extensions[0] = key_usage(0x20));
    assert_eq!(enciphers, Err(Reason::EkCertKeyUsage));
    let web_server = changed(|draft| draft.extensions[2] = purposes(&[SERVER_AUTH]));
    assert_eq!(web_server, Err(Reason::EkCertPurpose));
    let name_constraints = |critical| extension(&[0x55, 0x1d, 0x1e], critical, &sequence(&[]));
    let critical = changed(|draft| draft.extensions.push(name_constraints(true)));
    assert_eq!(critical, Err(Reason::EkCertCritical));
    assert_eq!(
        changed(|draft| draft.extensions.push(name_constraints(false))),
        Ok(Assurance::TpmEk)
    );
}

#[test]
fn what_a_certificate_need_not_say() {
    assert_eq!(changed(|draft| draft.extensions.truncate(1)), Ok(Assurance::TpmEk));
    assert_eq!(changed(|draft| drop(draft.extensions.remove(0))), Ok(Assurance::TpmEk));
    let more = changed(|draft| draft.extensions[2] = purposes(&[SERVER_AUTH, EK_CERTIFICATE]));
    assert_eq!(more, Ok(Assurance::TpmEk));
}

#[test]
fn expiry_is_a_policy() {
    for (not_before, not_after) in
        [("20200101000000Z", "20210101000000Z"), ("20390101000000Z", "20400101000000Z")]
    {
        let mut draft = Draft::endorsement(&p256_key(1), "root");
        (draft.not_before, draft.not_after) = (not_before, not_after);
        let certificate = draft.signed_by(ROOT);
        let strict = verdict(&[&certificate], |_| ());
        assert_eq!(strict.outcome, Err(Reason::EkCertExpired));
        let lenient = verdict(&[&certificate], |policy| policy.accept_expired = true);
        assert_eq!(lenient.outcome, Ok(Assurance::TpmEk));
    }
    let endless = changed(|draft| draft.not_after = "99991231235959Z");
    assert_eq!(endless, Ok(Assurance::TpmEk));
}

#[test]
fn the_deny_list_is_by_manufacturer_model_and_version() {
    let rule = |manufacturer: &str, version: Option<&str>| DeniedChip {
        manufacturer: Some(manufacturer.to_owned()),
        model: None,
        version: version.map(str::to_owned),
    };
    let outcome = |rule: DeniedChip, listed| {
        let denied = [rule];
        let authorities = root();
        let policy = EkPolicy { denied: &denied, listed, ..policy(&authorities) };
        judge(&ek(&p256_key(1)), &[&genuine()], &policy).outcome
    };
    assert_eq!(outcome(rule("id:41434D45", None), false), Err(Reason::EkDenied));
    assert_eq!(outcome(rule("id:41434D45", None), true), Err(Reason::EkDenied));
    assert_eq!(outcome(rule("id:41434D45", Some("id:00070001")), false), Err(Reason::EkDenied));
    assert_eq!(outcome(rule("id:41434D45", Some("id:00070002")), false), Ok(Assurance::TpmEk));
    assert_eq!(outcome(rule("id:49465800", None), false), Ok(Assurance::TpmEk));
}

#[test]
fn a_simulator_is_one_whoever_signed_for_it() {
    for id in ["id:00001014", "id:49424d00"] {
        let mut draft = Draft::endorsement(&p256_key(1), "root");
        draft.extensions[3] = chip_name(id, "swtpm", "id:20191023");
        let certificate = draft.signed_by(ROOT);
        let refused = verdict(&[&certificate], |policy| policy.listed = true);
        assert_eq!(refused.outcome, Err(Reason::EkSimulator));
        let allowed = verdict(&[&certificate], |policy| policy.accept_simulator = true);
        assert_eq!(allowed.outcome, Ok(Assurance::Simulator));
    }
}

#[test]
fn a_listed_serial_stands_in_for_what_is_missing_but_not_for_what_is_wrong() {
    let unchained = Draft::endorsement(&p256_key(1), "nobody").signed_by(9);
    let other_key = Draft::endorsement(&p256_key(8), "root").signed_by(ROOT);
    let listed =
        |certificates: &[&[u8]]| verdict(certificates, |policy| policy.listed = true).outcome;
    assert_eq!(listed(&[]), Ok(Assurance::TpmEkListed));
    assert_eq!(listed(&[&[1, 2, 3]]), Ok(Assurance::TpmEkListed));
    assert_eq!(listed(&[&unchained]), Ok(Assurance::TpmEkListed));
    assert_eq!(listed(&[&genuine()]), Ok(Assurance::TpmEk));
    assert_eq!(listed(&[&other_key]), Err(Reason::EkCertOtherKey));
}

/// An EK certificate below `levels` intermediates, of which one is changed; the root signs
/// the topmost. Gives the EK certificate first.
fn chain(levels: u8, change: impl Fn(u8, &mut Draft)) -> Vec<Vec<u8>> {
    let name = |level: u8| if level == levels { "root".to_owned() } else { format!("ca {level}") };
    let key = |level: u8| if level == levels { ROOT } else { INTERMEDIATE + level };
    let mut out = vec![Draft::endorsement(&p256_key(1), &name(0)).signed_by(key(0))];
    for level in 0..levels {
        let mut draft = Draft::authority(&name(level + 1), &name(level), key(level));
        change(level, &mut draft);
        out.push(draft.signed_by(key(level + 1)));
    }
    out
}

fn chain_outcome(certificates: &[Vec<u8>]) -> Result<Assurance, Reason> {
    let certificates: Vec<_> = certificates.iter().map(Vec::as_slice).collect();
    verdict(&certificates, |_| ()).outcome
}

#[test]
fn a_chain_through_intermediates_of_the_chip_or_of_the_operator() {
    for levels in 0..=4 {
        assert_eq!(chain_outcome(&chain(levels, |_, _| ())), Ok(Assurance::TpmEk));
    }
    assert_eq!(chain_outcome(&chain(5, |_, _| ())), Err(Reason::EkChainTooLong));

    let certificates = chain(2, |_, _| ());
    let mut authorities = root();
    for certificate in &certificates[1..] {
        authorities.add_intermediate(certificate).unwrap();
    }
    let verdict = judge(&ek(&p256_key(1)), &[&certificates[0]], &policy(&authorities));
    assert_eq!(verdict.outcome, Ok(Assurance::TpmEk));
    let missing = judge(&ek(&p256_key(1)), &[&certificates[0]], &policy(&root()));
    assert_eq!(missing.outcome, Err(Reason::EkIssuerUnknown));
}

#[test]
fn every_authority_in_a_chain_is_one() {
    let outcome = |change: fn(&mut Draft)| {
        let of = |at: u8| {
            chain_outcome(&chain(2, |level, draft| {
                if level == at {
                    change(draft)
                }
            }))
        };
        assert_eq!(of(0), of(1));
        of(0)
    };
    let not_authority = outcome(|draft| draft.extensions[0] = basic_constraints(false, None));
    assert_eq!(not_authority, Err(Reason::EkChainNotAuthority));
    let silent = outcome(|draft| drop(draft.extensions.remove(0)));
    assert_eq!(silent, Err(Reason::EkChainNotAuthority));
    let usage = outcome(|draft| draft.extensions[1] = key_usage(0x80));
    assert_eq!(usage, Err(Reason::EkChainKeyUsage));
    let critical = outcome(|draft| {
        draft.extensions.push(extension(&[0x55, 0x1d, 0x24], true, &sequence(&[])))
    });
    assert_eq!(critical, Err(Reason::EkCertCritical));
    let expired = outcome(|draft| draft.not_after = "20210101000000Z");
    assert_eq!(expired, Err(Reason::EkCertExpired));
    let policies = outcome(|draft| {
        draft.extensions.push(extension(&[0x55, 0x1d, 0x20], true, &sequence(&[])))
    });
    assert_eq!(policies, Ok(Assurance::TpmEk));
}

#[test]
fn the_length_of_a_path_is_limited_by_each_authority() {
    let limited = |at: u8, limit: u8| {
        chain_outcome(&chain(2, |level, draft| {
            if level == at {
                draft.extensions[0] = basic_constraints(true, Some(limit));
            }
        }))
    };
    assert_eq!(limited(0, 0), Ok(Assurance::TpmEk));
    assert_eq!(limited(1, 1), Ok(Assurance::TpmEk));
    assert_eq!(limited(1, 0), Err(Reason::EkChainPathLength));
}

#[test]
fn signatures_are_verified() {
    let forged = Draft::endorsement(&p256_key(1), "root").signed_by(9);
    assert_eq!(verdict(&[&forged], |_| ()).outcome, Err(Reason::EkChainSignature));
    let sha1 = changed(|draft| draft.signature_algorithm = oid(SHA1_WITH_RSA));
    assert_eq!(sha1, Err(Reason::EkChainAlgorithm));
    let mut certificates = chain(1, |_, _| ());
    certificates[1] = Draft::authority("root", "ca 0", INTERMEDIATE).signed_by(9);
    assert_eq!(chain_outcome(&certificates), Err(Reason::EkChainSignature));
}

#[test]
fn an_issuer_s_name_may_be_another_kind_of_string() {
    let mut draft = Draft::endorsement(&p256_key(1), "root");
    let utf8_string = draft.issuer.iter().rposition(|byte| *byte == 0x0c).unwrap();
    draft.issuer[utf8_string] = 0x13;
    assert_eq!(verdict(&[&draft.signed_by(ROOT)], |_| ()).outcome, Ok(Assurance::TpmEk));
    let other = changed(|draft| draft.issuer = common_name("roof"));
    assert_eq!(other, Err(Reason::EkIssuerUnknown));
}

#[test]
fn another_authority_of_the_same_name_does_no_harm() {
    let mut certificates = chain(1, |_, _| ());
    let namesake = Draft::authority("root", "ca 0", 9).signed_by(ROOT);
    certificates.insert(1, namesake);
    assert_eq!(chain_outcome(&certificates), Ok(Assurance::TpmEk));
}

#[test]
fn certificates_made_to_have_many_paths_are_given_up() {
    // Authorities that sign one another in a ring.
    let mut certificates = vec![Draft::endorsement(&p256_key(1), "ring").signed_by(INTERMEDIATE)];
    for _ in 0..15 {
        certificates.push(Draft::authority("ring", "ring", INTERMEDIATE).signed_by(INTERMEDIATE));
    }
    assert_eq!(chain_outcome(&certificates), Err(Reason::EkChainTooLong));
}

#[test]
fn words_and_order_of_assurance() {
    for pair in Assurance::ALL.windows(2) {
        assert!(pair[0] > pair[1]);
    }
    for class in Assurance::ALL {
        assert_eq!(class.word().parse(), Ok(class));
    }
    assert_eq!("TPM-EK".parse::<Assurance>(), Err(Reason::WrongShape));
}

#[test]
fn what_a_certificate_says_cannot_forge_a_line() {
    let mut draft = Draft::endorsement(&p256_key(1), "root");
    draft.extensions[3] = chip_name("id:1\noutcome: tpm-ek", "\u{1b}[2J", "\0");
    let verdict = verdict(&[&draft.signed_by(9)], |_| ());
    assert!(verdict.lines.iter().all(|line| line.bytes().all(|b| (0x20..0x7f).contains(&b))));
    assert_eq!(verdict.lines.iter().filter(|line| line.starts_with("outcome")).count(), 1);
}

#[test]
fn a_verdict_is_never_longer_than_a_statement_of_the_device_may_hold() {
    let long = "\u{e9}".repeat(300);
    let name = |level: u8| if level == 4 { "root".to_owned() } else { format!("{long}{level}") };
    let key = |level: u8| if level == 4 { ROOT } else { INTERMEDIATE + level };
    let mut draft = Draft::endorsement(&p256_key(1), &name(0));
    draft.subject = common_name(&long);
    draft.extensions[3] = chip_name(&long, &long, &long);
    let mut certificates = vec![draft.signed_by(key(0))];
    for level in 0..4 {
        let draft = Draft::authority(&name(level + 1), &name(level), key(level));
        certificates.push(draft.signed_by(key(level + 1)));
    }
    let certificates: Vec<_> = certificates.iter().map(Vec::as_slice).collect();
    let verdict = verdict(&certificates, |_| ());
    assert_eq!(verdict.outcome, Ok(Assurance::TpmEk), "{verdict}");
    assert!(verdict.to_string().len() <= 4096, "{}", verdict.to_string().len());
}

/// For ordinary chains an independent verifier says the same. (It does not look at the key
/// usage of authorities.)
#[test]
fn webpki_agrees() {
    use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
    let root = Draft::authority("root", "root", ROOT).signed_by(ROOT);
    let root = root.as_slice().into();
    let anchors = [anchor_from_trusted_cert(&root).unwrap()];
    let faults: [fn(u8, &mut Draft); 4] = [
        |_, _| (),
        |_, draft| draft.extensions[0] = basic_constraints(false, None),
        |_, draft| draft.not_after = "20210101000000Z",
        |level, draft| draft.extensions[0] = basic_constraints(true, Some(1 - level)),
    ];
    for (index, fault) in faults.into_iter().enumerate() {
        let certificates = chain(2, fault);
        let leaf = certificates[0].as_slice().into();
        let others: Vec<_> = certificates[1..].iter().map(|der| der.as_slice().into()).collect();
        let time = std::time::Duration::from_secs(NOW_S);
        let leaf = EndEntityCert::try_from(&leaf).unwrap();
        let result = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &others,
            rustls_pki_types::UnixTime::since_unix_epoch(time),
            KeyUsage::required_if_present(EK_CERTIFICATE),
            None,
            None,
        );
        let error = result.err();
        assert_eq!(
            error.is_none(),
            chain_outcome(&certificates).is_ok(),
            "fault {index}: {error:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, at in 0usize..396, to: u8) {
        let _ = verdict(&[&bytes], |_| ());
        let mut mutated = genuine();
        let at = at % mutated.len();
        mutated[at] = to;
        let _ = verdict(&[&mutated], |_| ());
    }

    #[test]
    fn no_byte_of_what_was_signed_can_be_changed(at in 0usize..1000, bit in 0u8..8) {
        let mut mutated = genuine();
        // Two headers of four bytes, then the signed part.
        let signed_len = usize::from(u16::from_be_bytes([mutated[6], mutated[7]]));
        mutated[8 + at % signed_len] ^= 1 << bit;
        prop_assert!(verdict(&[&mutated], |_| ()).outcome.is_err());
    }
}
