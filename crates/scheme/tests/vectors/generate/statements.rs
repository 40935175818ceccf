//! `server_keys` statements, and what the server states of a device.

use super::last_changed;
use super::signed::Signed;
use crate::crypto::sha256;
use crate::forge::lengthened;
use crate::format::{Vector, bytes, unhex, word};
use crate::parties::Parties;
use crate::wire::{array, bstr, int, tstr, uint};

pub fn vectors(p: &Parties) -> Vec<Vector> {
    [server_keys(p), keys_in_server_keys(p), device(p)].concat()
}

const SHAPE: &str = "wrong-shape";
const KEY: &str = "unknown-key";

fn statement(p: &Parties) -> Signed {
    Signed::by_server(&p.identity, "server_keys", &p.statement_items())
}

fn server_keys_vector(bytes_in: Vec<u8>) -> Vector {
    let fields = vec![bytes("statement", bytes_in), word("least", 1_760_000_000)];
    Vector::good("server-keys", "", "server-keys", fields).with("parties")
}

fn server_keys(p: &Parties) -> Vec<Vector> {
    let good = statement(p);
    let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        server_keys_vector(good.with(at, item)).refused(expect, rule, fault)
    };
    let accepted = |name: &str, sequence: u64, least: u64| {
        let mut items = p.statement_items();
        (items[0], items[1]) = (uint(sequence), uint(least));
        let signed = Signed::by_server(&p.identity, "server_keys", &items);
        let mut vector = server_keys_vector(signed.bytes());
        vector.name = name.into();
        vector.fields.extend([
            bytes("seal-signature", signed.signature()),
            word("out-sequence", sequence),
            word("out-min-sequence", least),
            bytes("out-signing-id", p.server_signing.id()),
            bytes("out-encryption-id", p.server_encryption.id()),
            bytes("out-kem-id", sha256(p.kem_spki())),
            bytes("out-server-id", p.server_id()),
        ]);
        vector
    };
    let mut other_server = server_keys_vector(good.bytes());
    other_server.fields.push(bytes("server-id", last_changed(&p.server_id())));
    let mut vectors = vec![
        accepted("good", 1_760_000_000, 1_750_000_000),
        accepted("recovered", 1_770_000_000, 1_770_000_000),
        accepted("last", u64::MAX, 0),
    ];
    vectors.extend(good.refusals(server_keys_vector));
    vectors.extend([
        other_server.refused("unknown-server", "server", "of another server than the pinned one"),
        refused("unknown-server", "identity", "with another identity", 5, {
            bstr(p.server_signing.spki())
        }),
        refused("statement-stale", "sequence", "older than the last seen", 0, uint(1_759_999_999)),
        refused("statement-stale", "void", "void by its own word", 1, uint(1_760_000_001)),
        refused(SHAPE, "sequence-negative", "a sequence of -1", 0, int(-1)),
        refused("not-deterministic", "sequence-long", "a sequence longer than it must be", 1, {
            lengthened(&uint(7))
        }),
    ]);
    vectors
}

fn keys_in_server_keys(p: &Parties) -> Vec<Vector> {
    let good = statement(p);
    let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        let rule = format!("key-{rule}");
        server_keys_vector(good.with(at, bstr(item))).refused(expect, &rule, fault)
    };
    let spki = p.server_signing.spki();
    let with_byte = |at: usize, byte: u8| {
        let mut spki = spki.clone();
        spki[at] = byte;
        spki
    };
    let kem = p.kem_spki();
    let mut small = kem.clone();
    // id-alg-ml-kem-512 in place of 768.
    small[16] = 0x01;
    let large = [kem[..22].to_vec(), vec![0xff; 1184]].concat();
    let compressed = [
        unhex("3039301306072a8648ce3d020106082a8648ce3d030107032200"),
        vec![2 + (spki[90] & 1)],
        spki[27..59].to_vec(),
    ];
    vec![
        refused(KEY, "point", "a bare point", 2, p.server_signing.point()),
        refused(KEY, "p384", "the curve secp384r1 in the SPKI", 2, with_byte(22, 0x22)),
        refused(KEY, "compressed", "a compressed point in the SPKI", 2, compressed.concat()),
        refused("bad-point", "hybrid", "a point in the hybrid form", 2, with_byte(26, 6)),
        refused("bad-point", "off", "a point off the curve", 3, last_changed(&spki)),
        refused("bad-point", "trailing", "a byte behind the SPKI", 3, [&spki[..], &[0]].concat()),
        refused(KEY, "empty", "no key", 3, vec![]),
        refused(KEY, "kem-512", "an ML-KEM-512 key", 4, small),
        refused(KEY, "kem-p256", "a P-256 key in place of the ML-KEM key", 4, spki.clone()),
        refused(KEY, "kem-short", "an ML-KEM key of 1,183 bytes", 4, kem[..1205].to_vec()),
        refused(KEY, "kem-field", "an ML-KEM key with numbers not below q", 4, large),
        refused(SHAPE, "long", "a key of 2,049 bytes", 4, vec![0; 2049]),
    ]
}

/// The items of a statement about the device.
pub fn device_items(p: &Parties) -> Vec<Vec<u8>> {
    vec![
        bstr(p.server_id()),
        bstr(p.device_id),
        bstr(p.serial()),
        uint(p.generation.into()),
        uint(p.keyset.into()),
        bstr(p.signing.spki()),
        bstr(p.decryption.id()),
        tstr("tpm-ek"),
        tstr("pass: everything\noutcome: tpm-ek"),
        uint(1_760_000_500),
    ]
}

fn device(p: &Parties) -> Vec<Vector> {
    let good = Signed::by_server(&p.server_signing, "device", &device_items(p));
    let vector = |bytes_in: Vec<u8>| {
        let fields = vec![bytes("statement", bytes_in)];
        Vector::good("device-statement", "", "device-statement", fields).with("parties")
    };
    let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        vector(good.with(at, item)).refused(expect, rule, fault)
    };
    let mut accepted = vector(good.bytes());
    accepted.name = "good".into();
    accepted.fields.extend([
        bytes("seal-signature", good.signature()),
        bytes("out-server-id", p.server_id()),
        bytes("out-device-id", p.device_id),
        bytes("out-serial", p.serial()),
        word("out-generation", p.generation),
        word("out-keyset", p.keyset),
        bytes("out-signing", p.signing.point()),
        bytes("out-decryption-id", p.decryption.id()),
        word("out-assurance", "tpm-ek"),
        bytes("out-verdict", "pass: everything\noutcome: tpm-ek"),
        word("out-enrolled", 1_760_000_500),
    ]);
    let mut vectors = vec![accepted];
    vectors.extend(good.refusals(vector));
    vectors.extend([
        refused(SHAPE, "serial-31", "a serial of 31 bytes", 2, bstr([0; 31])),
        refused(SHAPE, "generation-large", "a generation of 2^32", 3, uint(1 << 32)),
        refused(KEY, "signing", "a signing key that is a bare point", 5, bstr(p.signing.point())),
        refused(SHAPE, "assurance-17", "an assurance of 17 bytes", 7, tstr("tpm-ek-tpm-ek-tpm")),
        refused(SHAPE, "verdict-4097", "a verdict of 4,097 bytes", 8, tstr(&"a".repeat(4097))),
        refused("too-large", "size", "a statement over 8 KiB", 8, tstr(&"a".repeat(8192))),
        refused(SHAPE, "serial-array", "a serial that is no byte string", 2, array(&[uint(1)])),
    ]);
    vectors
}
