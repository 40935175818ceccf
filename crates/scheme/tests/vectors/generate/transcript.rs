//! One whole enrolment, every message of it.

use super::chip::Chip;
use super::device_keys::certifications;
use super::signed::Signed;
use crate::crypto::{Key, drawn, hmac, kdf, sha256};
use crate::forge::{Ea, Encrypt0, Form};
use crate::format::{Field, bytes, word};
use crate::parties::Parties;
use crate::wire::{NULL, array, bstr, int, map, tstr, uint};

/// The messages, and what each is made of.
pub struct Transcript<'a> {
    pub p: &'a Parties,
    pub chip: Chip,
    pub nonce_d: [u8; 32],
    pub nonce_s: [u8; 32],
    pub enrol_id: [u8; 16],
    pub credential: [u8; 32],
    pub certificate: Vec<u8>,
}

/// When the challenge expires, unix seconds.
pub const EXPIRY: u64 = 1_760_001_000;
/// The name of the serial key's id, beside those of the bond.
pub const ASSURANCE: &str = "tpm-ek";

impl<'a> Transcript<'a> {
    pub fn new(p: &'a Parties) -> Transcript<'a> {
        let random: [u8; 24] = drawn("nonce_s");
        let nonce_s = [&random[..], &EXPIRY.to_be_bytes()].concat();
        Transcript {
            p,
            chip: Chip::new(p),
            nonce_d: drawn("nonce_d"),
            nonce_s: nonce_s.try_into().unwrap(),
            enrol_id: drawn("enrol id"),
            credential: drawn("credential"),
            certificate: drawn::<600>("a certificate").to_vec(),
        }
    }

    pub fn q(&self) -> Vec<u8> {
        array(&[uint(1), bstr(self.nonce_d)])
    }

    pub fn m0(&self) -> Signed {
        let items = [bstr(self.nonce_d), bstr(self.nonce_s), bstr(self.p.statement())];
        Signed::by_server(&self.p.server_signing, "M0", &items)
    }

    /// The items of the claim.
    pub fn claim(&self) -> Vec<Vec<u8>> {
        let user_info = map(&[
            (tstr("shop"), tstr("Corner \u{2116} 7")),
            (tstr("owner"), tstr("A. Person")),
            (tstr("a longer name than 23 bytes"), tstr("")),
        ]);
        vec![
            bstr(self.nonce_s),
            bstr(self.p.serial()),
            user_info,
            tstr("K7QX-2M9P"),
            NULL.to_vec(),
            array(&self.hardware()),
        ]
    }

    pub fn hardware(&self) -> Vec<Vec<u8>> {
        let certified = certifications(self.p, &self.chip, sha256(self.m0().bytes()));
        let mut items = vec![
            uint(1),
            bstr(self.chip.ek.bytes()),
            array(&[bstr(&self.certificate)]),
            bstr(self.chip.srk.bytes()),
            bstr(self.chip.ak.bytes()),
        ];
        for (area, (attest, signature)) in self.chip.certified().iter().zip(certified) {
            items.push(array(&[bstr(area.bytes()), bstr(attest), bstr(signature)]));
        }
        items
    }

    /// The key layer of M1.
    pub fn key_layer(&self) -> Ea {
        Ea {
            to: self.p.server_encryption.point(),
            aad: array(&[tstr("twinseal-enrol-v1"), bstr(sha256(self.m0().bytes()))]),
            sender: None,
            receiver: self.p.server_id().to_vec(),
            ephemeral: self.ephemeral(),
            form: Form { recipient: vec![(1, int(-25))], ..Form::plain() },
        }
    }

    pub fn ephemeral(&self) -> Key {
        Key::new("ephemeral of the claim")
    }

    pub fn m1_of(&self, m0: &[u8], layer: &Ea, claim: &[u8]) -> Vec<u8> {
        array(&[uint(1), bstr(m0), bstr(layer.seal(claim).bytes())])
    }

    pub fn m1(&self) -> Vec<u8> {
        self.m1_of(&self.m0().bytes(), &self.key_layer(), &array(&self.claim()))
    }

    pub fn m2(&self) -> Signed {
        let items = [
            bstr(self.enrol_id),
            bstr(drawn::<68>("credential blob")),
            bstr(drawn::<68>("encrypted secret")),
            bstr(sha256(self.m1())),
        ];
        Signed::by_server(&self.p.server_signing, "M2", &items)
    }

    /// The proof over the hashes of M0, M1, M2.
    pub fn proof(&self, credential: &[u8], hashes: &[[u8; 32]]) -> [u8; 32] {
        let key = kdf(credential, "twinseal/activate/v1");
        hmac(&key, [&self.enrol_id[..], &hashes.concat()].concat())
    }

    pub fn m3(&self) -> Vec<u8> {
        let hashes = &self.hashes()[..3];
        array(&[bstr(self.enrol_id), bstr(self.proof(&self.credential, hashes))])
    }

    pub fn m4(&self) -> Signed {
        let items = [
            bstr(self.enrol_id),
            bstr(sha256(self.m3())),
            bstr(self.p.device_id),
            uint(self.p.generation.into()),
            bstr(self.p.offer.point()),
        ];
        Signed::by_server(&self.p.server_signing, "M4", &items)
    }

    /// The confirmation over the hashes of M0 to M4.
    pub fn confirmation(&self, chain: &[u8; 32]) -> [u8; 32] {
        let hashes = [&self.hashes()[..], &[sha256(self.m3()), sha256(self.m4().bytes())]].concat();
        hmac(&kdf(chain, "twinseal/confirm/v1"), hashes.concat())
    }

    pub fn m5(&self) -> Signed {
        let mac = self.confirmation(&self.p.chain());
        let items = [bstr(self.enrol_id), uint(41), bstr(mac)];
        Signed::by_device(&self.p.signing, "M5", &items)
    }

    pub fn grant(&self, standing: u64) -> Signed {
        let p = self.p;
        let ids = [p.signing.id(), p.decryption.id(), p.serial_key.id()].map(bstr);
        let items = [
            bstr(self.enrol_id),
            bstr(p.server_id()),
            bstr(p.device_id),
            bstr(p.serial()),
            uint(p.generation.into()),
            uint(standing),
            array(&ids),
            tstr(ASSURANCE),
        ];
        Signed::by_server(&p.server_signing, "G", &items)
    }

    pub fn grant_random(&self) -> [u8; 32] {
        drawn("grant")
    }

    pub fn grant_key(&self) -> [u8; 32] {
        kdf(&self.p.chain(), "twinseal/grant/v1")
    }

    pub fn seal_grant(&self, signed: &[u8]) -> Encrypt0 {
        let aad = sha256(self.m5().bytes());
        Encrypt0::new(&self.grant_key(), self.grant_random(), signed, &aad)
    }

    /// Of M0, M1, M2.
    fn hashes(&self) -> [[u8; 32]; 3] {
        [self.m0().bytes(), self.m1(), self.m2().bytes()].map(sha256)
    }

    /// What vectors share.
    pub fn shared(&self) -> Vec<Field> {
        vec![
            bytes("nonce-d", self.nonce_d),
            bytes("nonce-s", self.nonce_s),
            bytes("enrol-id", self.enrol_id),
            bytes("credential", self.credential),
            word("now", EXPIRY - 100),
            word("least", self.p.sequence),
            bytes("q", self.q()),
            bytes("m0", self.m0().bytes()),
            bytes("m1", self.m1()),
            bytes("m2", self.m2().bytes()),
            bytes("m3", self.m3()),
            bytes("m4", self.m4().bytes()),
            bytes("m5", self.m5().bytes()),
            bytes("g", self.seal_grant(&self.grant(1).bytes()).bytes()),
        ]
    }
}
