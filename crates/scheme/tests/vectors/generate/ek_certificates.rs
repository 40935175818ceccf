//! EK certificates, and who vouches for them.

use super::certificate::{
    Draft, ECDSA_WITH_SHA1, SERVER_AUTH, basic_constraints, chip_name, common_name, extension,
    key_usage, purposes,
};
use super::chip::Area;
use super::last_changed;
use super::tpm::{modulus, rsa_spki};
use crate::crypto::Key;
use crate::format::{Vector, bytes, word};
use crate::parties::Parties;
use crate::wire::{array, bstr};

pub fn vectors(p: &Parties) -> Vec<Vector> {
    let e = Endorsements { p, root: Key::new("EK root"), middle: Key::new("EK intermediate") };
    [e.good(), e.storage(), e.certificates(), e.policies(), e.chains()].concat()
}

struct Endorsements<'a> {
    p: &'a Parties,
    root: Key,
    middle: Key,
}

const NOW: u64 = 1_760_000_000;

impl Endorsements<'_> {
    fn draft(&self) -> Draft {
        Draft::endorsement(&self.p.endorsement.spki(), "root")
    }

    fn root_certificate(&self) -> Vec<u8> {
        Draft::authority("root", "root", &self.root).signed_by(&self.root)
    }

    /// What a device sends, judged by an operator who trusts the root and nothing else.
    fn vector(&self, certificates: &[Vec<u8>]) -> Vector {
        let list =
            |certificates: &[Vec<u8>]| array(&certificates.iter().map(bstr).collect::<Vec<_>>());
        let fields = vec![
            bytes("ek-public", Area::p256(&self.p.endorsement).endorsement().bytes()),
            bytes("certificates", list(certificates)),
            bytes("roots", list(&[self.root_certificate()])),
            word("now", NOW),
        ];
        Vector::good("ek-certificate", "", "ek-certificate", fields)
    }

    fn of(&self, draft: &Draft) -> Vector {
        self.vector(&[draft.signed_by(&self.root)])
    }

    fn accepted(&self, name: &str, mut vector: Vector, assurance: &str) -> Vector {
        vector.name = name.into();
        vector.fields.push(word("out-assurance", assurance));
        vector
    }

    fn good(&self) -> Vec<Vector> {
        let rsa = Draft::endorsement(&rsa_spki(&modulus(256)), "root");
        let mut rsa = self.of(&rsa);
        rsa.fields[0] = bytes("ek-public", Area::rsa(&modulus(256)).endorsement().bytes());
        let mut bare = self.draft();
        bare.extensions.clear();
        let middle = Draft::authority("root", "middle", &self.middle).signed_by(&self.root);
        let below = Draft { issuer: common_name("middle"), ..self.draft() };
        let below = below.signed_by(&self.middle);
        vec![
            self.accepted("good", self.of(&self.draft()), "tpm-ek"),
            self.accepted("rsa", rsa, "tpm-ek"),
            self.accepted("bare", self.of(&bare), "tpm-ek"),
            self.accepted("intermediate", self.vector(&[below, middle]), "tpm-ek"),
        ]
    }

    /// As chips store them.
    fn storage(&self) -> Vec<Vector> {
        let der = self.draft().signed_by(&self.root);
        let behind = |byte: u8, n: usize| [der.clone(), vec![byte; n]].concat();
        let len = ((der.len() + 2) as u16).to_be_bytes();
        let wrapped = [&[0x10, 0x01, 0x00][..], &len, &[0x10, 0x02], &der].concat();
        let form = "ek-cert-form";
        let refused = |expect: &str, rule: &str, fault: &str, stored: Vec<u8>| {
            self.vector(&[stored]).refused(expect, rule, fault)
        };
        vec![
            self.accepted("padded-ff", self.vector(&[behind(0xff, 200)]), "tpm-ek"),
            self.accepted("padded-00", self.vector(&[behind(0, 200)]), "tpm-ek"),
            self.accepted("wrapped", self.vector(std::slice::from_ref(&wrapped)), "tpm-ek"),
            refused("ek-cert-trailing", "trailing", "bytes behind that are no padding", {
                behind(1, 1)
            }),
            refused(form, "cut", "the last byte missing", der[..der.len() - 1].to_vec()),
            refused(form, "wrapper-cut", "a wrapper longer than its content", {
                wrapped[..wrapped.len() - 1].to_vec()
            }),
            refused(form, "empty", "an empty certificate", vec![]),
            refused(form, "no-certificate", "a SEQUENCE of nothing", vec![0x30, 0]),
            self.vector(&[]).refused("ek-cert-missing", "missing", "no certificate"),
        ]
    }

    fn certificates(&self) -> Vec<Vector> {
        let refused = |expect: &str, rule: &str, fault: &str, change: &dyn Fn(&mut Draft)| {
            let mut draft = self.draft();
            change(&mut draft);
            self.of(&draft).refused(&format!("ek-cert-{expect}"), rule, fault)
        };
        let other = Key::new("another chip's endorsement key");
        let mut p521 = self.p.endorsement.spki();
        p521[22] = 0x23;
        let unknown = extension(&[0x2a, 0x03, 0x04], true, &[0x05, 0x00]);
        vec![
            refused("other-key", "other-key", "the key of another chip", &|d| {
                d.spki = other.spki()
            }),
            refused("key", "key", "a key of an unknown kind", &|d| d.spki = p521.clone()),
            refused("authority", "authority", "a certificate authority's", &|d| {
                d.extensions[1] = basic_constraints(true, None);
            }),
            refused("authority", "signs", "a key that may sign certificates", &|d| {
                d.extensions[0] = key_usage(0x08 | 0x04);
            }),
            refused("key-usage", "key-usage", "a key that may encipher and not agree", &|d| {
                d.extensions[0] = key_usage(0x20);
            }),
            refused("purpose", "purpose", "meant for TLS servers", &|d| {
                d.extensions[2] = purposes(&[SERVER_AUTH]);
            }),
            refused("critical", "critical", "a critical extension that is not understood", &|d| {
                d.extensions.push(unknown.clone());
            }),
            refused("form", "twice", "an extension twice", &|d| {
                d.extensions.push(d.extensions[1].clone());
            }),
            refused("form", "unreadable", "a key usage that cannot be read", &|d| {
                d.extensions[0] = extension(&[0x55, 0x1d, 0x0f], true, &[0x05, 0x00]);
            }),
            refused("expired", "expired", "expired", &|d| d.not_after = "20250101000000Z"),
            refused("expired", "early", "not valid yet", &|d| d.not_before = "20300101000000Z"),
        ]
    }

    /// What the operator has decided.
    fn policies(&self) -> Vec<Vector> {
        let with = |vector: Vector, key: &str, value: &str| {
            let mut vector = vector;
            vector.fields.push(word(key, value));
            vector
        };
        let old = Draft { not_after: "20250101000000Z", ..self.draft() };
        let mut simulator = self.draft();
        simulator.extensions[3] = chip_name("id:00001014", "swtpm", "id:20191023");
        let simulator = self.of(&simulator);
        let other = Draft { spki: self.middle.spki(), ..self.draft() };
        let denied = with(self.of(&self.draft()), "denied-model", "model 7");
        vec![
            self.accepted("expired-allowed", with(self.of(&old), "accept-expired", "1"), "tpm-ek"),
            self.accepted(
                "simulator-allowed",
                with(simulator.clone(), "accept-simulator", "1"),
                "simulator",
            ),
            self.accepted("listed", with(self.vector(&[]), "listed", "1"), "tpm-ek-listed"),
            simulator.refused("ek-simulator", "simulator", "a simulator"),
            denied.clone().refused("ek-denied", "denied", "a chip on the deny list"),
            with(denied, "listed", "1").refused(
                "ek-denied",
                "denied-listed",
                "a chip on the deny list whose serial is listed",
            ),
            with(self.of(&other), "listed", "1").refused(
                "ek-cert-other-key",
                "other-key-listed",
                "the certificate of another chip, the serial listed",
            ),
        ]
    }

    fn chains(&self) -> Vec<Vector> {
        let refused = |expect: &str, rule: &str, fault: &str, certificates: Vec<Vec<u8>>| {
            self.vector(&certificates).refused(expect, rule, fault)
        };
        let below = Draft { issuer: common_name("middle"), ..self.draft() }.signed_by(&self.middle);
        let middle = Draft::authority("root", "middle", &self.middle);
        let through = |change: &dyn Fn(&mut Draft)| {
            let mut middle = middle.clone();
            change(&mut middle);
            vec![below.clone(), middle.signed_by(&self.root)]
        };
        let unknown = Draft { issuer: common_name("nobody"), ..self.draft() };
        let sha1 = Draft { signature_algorithm: ECDSA_WITH_SHA1, ..self.draft() };
        let forged = last_changed(&self.draft().signed_by(&self.root));
        let unknown_extension = extension(&[0x2a, 0x03, 0x04], true, &[0x05, 0x00]);
        vec![
            refused("ek-issuer-unknown", "issuer", "an issuer whom nobody knows", {
                vec![unknown.signed_by(&self.root)]
            }),
            refused("ek-issuer-unknown", "no-intermediate", "an intermediate that was not sent", {
                vec![below.clone()]
            }),
            refused("ek-chain-signature", "signature", "not signed by its issuer", {
                vec![self.draft().signed_by(&self.middle)]
            }),
            refused(
                "ek-chain-signature",
                "changed",
                "a bit of the signature changed",
                vec![forged],
            ),
            refused("ek-chain-algorithm", "sha1", "signed with SHA-1", {
                vec![sha1.signed_by(&self.root)]
            }),
            refused("ek-chain-not-authority", "leaf", "issued by one that is no authority", {
                through(&|d| d.extensions[0] = basic_constraints(false, None))
            }),
            refused("ek-chain-key-usage", "usage", "issued by one that may not sign", {
                through(&|d| d.extensions[1] = key_usage(0x02))
            }),
            refused(
                "ek-cert-critical",
                "middle-critical",
                "an issuer with a critical extension that is not understood",
                through(&|d| d.extensions.push(unknown_extension.clone())),
            ),
            refused("ek-cert-expired", "middle-expired", "an expired issuer", {
                through(&|d| d.not_after = "20250101000000Z")
            }),
            refused(
                "ek-chain-path-length",
                "path-length",
                "an authority below one that allows none",
                self.chain_of(2, Some(0)),
            ),
            refused("ek-chain-too-long", "too-long", "five authorities below the root", {
                self.chain_of(5, None)
            }),
        ]
    }

    /// The certificate below this many authorities, the highest of them with a path length.
    fn chain_of(&self, levels: u8, path_len: Option<u8>) -> Vec<Vec<u8>> {
        let key = |level: u8| match level == levels {
            true => self.root.clone(),
            false => Key::new(&format!("EK authority {level}")),
        };
        let name = |level: u8| match level == levels {
            true => "root".to_owned(),
            false => format!("level {level}"),
        };
        let leaf = Draft { issuer: common_name(&name(0)), ..self.draft() };
        let mut certificates = vec![leaf.signed_by(&key(0))];
        for level in 0..levels {
            let mut draft = Draft::authority(&name(level + 1), &name(level), &key(level));
            if level + 1 == levels {
                draft.extensions[0] = basic_constraints(true, path_len);
            }
            certificates.push(draft.signed_by(&key(level + 1)));
        }
        certificates
    }
}
