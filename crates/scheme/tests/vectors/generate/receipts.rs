//! Signed receipts; and on them the one form of a COSE_Sign.

use super::contents::{chain, trade_id};
use super::signed::Signed;
use super::statements::device_items;
use super::{changed, last_changed};
use crate::crypto::{Key, drawn, sha256};
use crate::forge::labels_map;
use crate::format::{Vector, bytes, word};
use crate::parties::{Parties, by_device, by_server};
use crate::wire::{array, bstr, int, map, tag, tstr, uint};

pub fn vectors(p: &Parties) -> Vec<Vector> {
    let r = Receipts { p };
    [r.good(), r.signers(), r.forms(), r.bodies(), r.statements()].concat()
}

const SHAPE: &str = "wrong-shape";
const HEADER: &str = "wrong-header";

/// The items of a receipt of the parties' trade, with these chains.
pub fn items_of(up: Vec<u8>, down: Vec<u8>) -> Vec<Vec<u8>> {
    let p = Parties::new();
    let statement = Signed::by_server(&p.server_signing, "device", &device_items(&p));
    items_of_device((up, down), [p.signing.id(), p.decryption.id()], statement.bytes())
}

/// The same of a device with these keys, signing and decryption, of which this is stated.
pub fn items_of_device(
    (up, down): (Vec<u8>, Vec<u8>),
    [signing, decryption]: [[u8; 32]; 2],
    statement: Vec<u8>,
) -> Vec<Vec<u8>> {
    let p = Parties::new();
    vec![
        tstr("twinseal-receipt-v1"),
        bstr(trade_id()),
        tstr(super::contents::SERVICE),
        bstr(p.server_id()),
        bstr(p.device_id),
        bstr(p.serial()),
        uint(p.generation.into()),
        bstr(signing),
        bstr(decryption),
        up,
        down,
        uint(1_760_000_600),
        uint(1_760_000_700),
        bstr(statement),
        bstr(p.statement()),
    ]
}

struct Receipts<'a> {
    p: &'a Parties,
}

/// A COSE_Sign as its encoded items.
#[derive(Clone)]
struct Sign {
    tags: Vec<u64>,
    protected: Vec<u8>,
    unprotected: Vec<u8>,
    payload: Vec<u8>,
    signers: Vec<Vec<Vec<u8>>>,
}

impl Sign {
    fn bytes(&self) -> Vec<u8> {
        let signers: Vec<_> = self.signers.iter().map(|items| array(items)).collect();
        let items = [&self.protected, &self.unprotected, &self.payload, &array(&signers)];
        self.tags.iter().rev().fold(array(&items), |item, number| tag(*number, item))
    }
}

/// Sig_structure of one signer (RFC 9052 section 4.4).
pub fn to_sign(body: &[u8], protected: &[u8], aad: &[u8], payload: &[u8]) -> Vec<u8> {
    array(&[tstr("Signature"), bstr(body), bstr(protected), bstr(aad), bstr(payload)])
}

impl Receipts<'_> {
    fn items(&self) -> Vec<Vec<u8>> {
        items_of(chain(3, drawn("up")), chain(2, drawn("down")))
    }

    fn signer(&self, key: &Key, aad: &[u8], payload: &[u8]) -> Vec<Vec<u8>> {
        self.signer_under(labels_map(&[(1, int(-7))]), key, aad, payload)
    }

    fn signer_under(
        &self,
        protected: Vec<u8>,
        key: &Key,
        aad: &[u8],
        payload: &[u8],
    ) -> Vec<Vec<u8>> {
        let signature = key.sign(&to_sign(&[], &protected, aad, payload));
        vec![bstr(protected), map(&[]), bstr(signature)]
    }

    fn by_server(&self, payload: &[u8]) -> Vec<Vec<u8>> {
        self.signer(&self.p.server_signing, &by_server("receipt"), payload)
    }

    fn by_device(&self, payload: &[u8]) -> Vec<Vec<u8>> {
        self.signer(&self.p.signing, &by_device("receipt"), payload)
    }

    /// Signed by both.
    fn of(&self, payload: &[u8]) -> Sign {
        Sign {
            tags: vec![98],
            protected: bstr([]),
            unprotected: map(&[]),
            payload: bstr(payload),
            signers: vec![self.by_server(payload), self.by_device(payload)],
        }
    }

    fn whole(&self) -> Sign {
        self.of(&array(&self.items()))
    }

    fn vector(&self, sign: &Sign) -> Vector {
        Vector::good("receipt", "", "receipt", vec![bytes("receipt", sign.bytes())]).with("parties")
    }

    fn good(&self) -> Vec<Vector> {
        let payload = array(&self.items());
        let accepted = |name: &str, sign: &Sign, signatures: u8| {
            let mut vector = self.vector(sign);
            vector.name = name.into();
            let header = labels_map(&[(1, int(-7))]);
            vector.fields.extend([
                word("out-signatures", signatures),
                bytes("out-body", &payload),
                bytes("out-trade", trade_id()),
                word("out-assurance", "tpm-ek"),
                bytes("out-digest", sha256(to_sign(&[], &header, &by_device("receipt"), &payload))),
            ]);
            vector
        };
        let whole = self.whole();
        let half = Sign { signers: whole.signers[..1].to_vec(), ..whole.clone() };
        vec![accepted("half", &half, 1), accepted("whole", &whole, 2)]
    }

    fn signers(&self) -> Vec<Vector> {
        let payload = array(&self.items());
        let (server, device) = ("bad-server-signature", "bad-device-signature");
        let with = |at: usize, signer: Vec<Vec<u8>>| {
            let mut sign = self.whole();
            sign.signers[at] = signer;
            self.vector(&sign)
        };
        let other = Key::new("somebody else's signing key");
        let (by_server, by_device) = (by_server("receipt"), by_device("receipt"));
        let mut swapped = self.whole();
        swapped.signers.reverse();
        let mut alone = self.whole();
        alone.signers.remove(0);
        let mut high = self.whole();
        let message = to_sign(&[], &labels_map(&[(1, int(-7))]), &by_device, &payload);
        high.signers[1][2] = bstr(self.p.signing.sign_high(&message));
        let mut cut = self.whole();
        cut.signers[1][2] = bstr([1; 63]);
        vec![
            with(0, self.signer(&other, &by_server, &payload)).refused(
                server,
                "server",
                "signed by another server",
            ),
            with(1, self.signer(&other, &by_device, &payload)).refused(
                device,
                "device",
                "countersigned by another device",
            ),
            with(0, self.signer(&self.p.server_signing, &by_device, &payload)).refused(
                server,
                "server-side",
                "the server's signature as the device signs",
            ),
            with(1, self.signer(&self.p.signing, &by_server, &payload)).refused(
                device,
                "device-side",
                "the device's signature as the server signs",
            ),
            with(1, self.by_server(&payload)).refused(device, "server-twice", "the server twice"),
            self.vector(&swapped).refused(server, "swapped", "the signatures exchanged"),
            self.vector(&alone).refused(server, "device-alone", "the device's signature alone"),
            self.vector(&high).refused("high-s", "high-s", "s in the upper half"),
            self.vector(&cut).refused(SHAPE, "signature-63", "a signature of 63 bytes"),
        ]
    }

    fn forms(&self) -> Vec<Vector> {
        let payload = array(&self.items());
        let refused = |expect: &str, rule: &str, fault: &str, change: &dyn Fn(&mut Sign)| {
            let mut sign = self.whole();
            change(&mut sign);
            self.vector(&sign).refused(expect, &format!("sign-{rule}"), fault)
        };
        let under = |rule: &str, fault: &str, labels: &[(i64, Vec<u8>)]| {
            let (protected, aad) = (labels_map(labels), by_server("receipt"));
            let signer = self.signer_under(protected, &self.p.server_signing, &aad, &payload);
            refused(HEADER, rule, fault, &|s| s.signers[0] = signer.clone())
        };
        let trailing = [self.whole().bytes(), vec![0]].concat();
        let mut behind = self.vector(&self.whole());
        behind.fields = vec![bytes("receipt", trailing)];
        vec![
            refused("wrong-tag", "tag-missing", "no tag", &|s| s.tags.clear()),
            refused("wrong-tag", "tag-other", "the tag of COSE_Sign1", &|s| s.tags = vec![18]),
            refused(SHAPE, "tag-twice", "the tag twice", &|s| s.tags = vec![98, 98]),
            refused(HEADER, "protected", "an empty map as protected header", &|s| {
                s.protected = bstr(map(&[]));
            }),
            refused(HEADER, "protected-alg", "the algorithm in the body's header", &|s| {
                s.protected = bstr(labels_map(&[(1, int(-7))]));
            }),
            refused(HEADER, "kid", "a key id in the unprotected header", &|s| {
                s.unprotected = labels_map(&[(4, bstr("kid"))]);
            }),
            refused(HEADER, "signer-kid", "a key id in a signer's unprotected header", &|s| {
                s.signers[1][1] = labels_map(&[(4, bstr("kid"))]);
            }),
            refused(SHAPE, "signers-none", "no signature", &|s| s.signers.clear()),
            refused(SHAPE, "signers-three", "three signatures", &|s| {
                s.signers.push(s.signers[1].clone());
            }),
            refused(SHAPE, "signer-more", "an item behind a signature", &|s| {
                s.signers[1].push(uint(0));
            }),
            refused(SHAPE, "payload-null", "a detached payload", &|s| s.payload = vec![0xf6]),
            under("alg-other", "ES384 as the server's algorithm", &[(1, int(-35))]),
            under("alg-missing", "no algorithm of the server", &[]),
            under(
                "crit",
                "crit in a signer's protected header",
                &[(1, int(-7)), (2, array(&[int(4)]))],
            ),
            behind.refused("not-cbor", "sign-trailing", "a byte behind the end"),
        ]
    }

    fn bodies(&self) -> Vec<Vector> {
        let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
            let mut items = self.items();
            items[at] = item;
            self.vector(&self.of(&array(&items))).refused(expect, &format!("body-{rule}"), fault)
        };
        let items = self.items();
        let mismatch = "receipt-mismatch";
        let (server, device) = (self.p.server_id(), self.p.device_id);
        vec![
            refused(SHAPE, "label", "another label", 0, tstr("twinseal-receipt-v2")),
            refused("bad-service", "service", "a service that is none", 2, tstr("till")),
            refused(mismatch, "server", "another server", 3, bstr(last_changed(&server))),
            refused(mismatch, "device", "another device", 4, bstr(last_changed(&device))),
            refused(mismatch, "serial", "another serial", 5, bstr([0; 32])),
            refused(mismatch, "generation", "another generation", 6, uint(1)),
            refused(mismatch, "signing", "another signing key", 7, bstr([0; 32])),
            refused(mismatch, "decryption", "another decryption key", 8, bstr([0; 32])),
            refused(SHAPE, "up", "a chain without a hash", 9, array(&[uint(3)])),
            refused("receipt-times", "times", "closed before it was opened", 12, {
                uint(1_760_000_599)
            }),
            refused(SHAPE, "statement-long", "a statement of 32,769 bytes", 13, {
                bstr(vec![0; 32 * 1024 + 1])
            }),
            refused("too-large", "size", "over 65 KiB", 13, bstr(vec![0; 66 * 1024])),
            self.vector(&self.of(&array(&items[..14]))).refused(SHAPE, "body-short", "14 items"),
            self.vector(&self.of(&[])).refused("not-cbor", "body-empty", "an empty payload"),
        ]
    }

    /// The statements within: the receipt is worth what they are.
    fn statements(&self) -> Vec<Vector> {
        let p = self.p;
        let with = |at: usize, statement: Vec<u8>| {
            let mut items = self.items();
            items[at] = bstr(statement);
            self.vector(&self.of(&array(&items)))
        };
        let other = Key::new("somebody else's signing key");
        let by_other = Signed::by_server(&other, "device", &device_items(p)).bytes();
        let mut about_other = device_items(p);
        about_other[1] = bstr([0; 16]);
        let about_other = Signed::by_server(&p.server_signing, "device", &about_other).bytes();
        let mut unpinned = self.vector(&self.whole());
        unpinned.fields.push(bytes("server-id", changed(&p.server_id(), 0)));
        let keys = Signed::by_server(&other, "server_keys", &p.statement_items()).bytes();
        let server = "bad-server-signature";
        vec![
            unpinned.refused(
                "unknown-server",
                "server-id",
                "of another server than the pinned one",
            ),
            with(13, by_other).refused(
                server,
                "statement-signer",
                "a statement about the device by somebody else",
            ),
            with(13, about_other).refused(
                "receipt-mismatch",
                "statement-device",
                "a statement about another device",
            ),
            with(14, keys).refused(server, "keys-signer", "server_keys signed by somebody else"),
            with(14, vec![]).refused("not-cbor", "keys-empty", "no server_keys statement"),
        ]
    }
}
