//! Enrolment links, and credentials for chips.

use super::chip::{Area, Chip};
use super::device_keys::p384_point;
use super::tpm::modulus;
use crate::crypto::drawn;
use crate::format::{Vector, bytes, hex, word};
use crate::parties::Parties;
use twinseal_scheme::tpm::{EndorsementKey, Name, make_credential};

pub fn vectors(p: &Parties) -> Vec<Vector> {
    [links(p), credentials(p)].concat()
}

fn links(p: &Parties) -> Vec<Vector> {
    let server = hex(&p.server_id());
    let good =
        format!("https://trade.example.com:8443/#server={server}&least=1760000000&code=K7QX-2M9P");
    let vector = |text: &str| Vector::good("link", "", "link", vec![bytes("link", text)]);
    let accepted = |name: &str, text: &str, url: &str, code: Option<&str>| {
        let mut vector = vector(text);
        vector.name = name.into();
        vector.fields.extend([
            word("out-url", url),
            bytes("out-server-id", p.server_id()),
            word("out-least", 1_760_000_000),
        ]);
        vector.fields.extend(code.map(|code| word("out-code", code)));
        vector
    };
    let (https, code) = ("https://trade.example.com:8443", Some("K7QX-2M9P"));
    let without = good.replace("&code=K7QX-2M9P", "");
    let http = good.replace("https", "http");
    let mut vectors = vec![
        accepted("good", &good, https, code),
        accepted("no-code", &without, https, None),
        accepted("http", &http, "http://trade.example.com:8443", code),
    ];
    let refused = |rule: &str, fault: &str, text: String| {
        assert_ne!(text, good);
        vector(&text).refused("bad-link", rule, fault)
    };
    vectors.extend([
        refused("empty", "nothing", String::new()),
        refused("scheme", "another scheme", good.replace("https", "ftp")),
        refused("host", "no host", good.replace("trade.example.com:8443", "")),
        refused("user", "a user in front of the host", good.replace("trade.", "me@trade.")),
        refused("fragment", "no fragment", good.replace('#', "?")),
        refused("space", "a space in the host", good.replace("trade.", "trade ")),
        refused("server-short", "a server id of 31 bytes", good.replacen(&server[..2], "", 1)),
        refused("server-twice", "a server id twice", format!("{good}&server={server}")),
        refused("server-wrong-first", "a server id after one that is none", {
            good.replace("server=", "server=00&server=")
        }),
        refused("least-negative", "a negative sequence", good.replace("least=", "least=-")),
        refused(
            "least-large",
            "a sequence of 2^64",
            good.replace("1760000000", "18446744073709551616"),
        ),
        refused("least-missing", "no sequence", good.replace("&least=1760000000", "")),
        refused("code-empty", "an empty code", good.replace("K7QX-2M9P", "")),
        refused("code-65", "a code of 65 characters", good.replace("K7QX-2M9P", &"X".repeat(65))),
        refused("unknown", "a part that is not known", format!("{good}&more=1")),
        refused("long", "over 1,024 bytes", format!("https://{}{}", "a".repeat(1024), &good[8..])),
    ]);
    vectors
}

/// As the scheme makes them: other tools open them in the tests that have a chip.
fn credentials(p: &Parties) -> Vec<Vector> {
    let name = Chip::new(p).ak.name();
    let credential: [u8; 32] = drawn("credential");
    // A scalar for a curve; for RSA the seed, and the one of OAEP.
    let made = |file: &str, ek: Area, drawn_len: usize| {
        let random = &drawn::<96>(&format!("credential for {file}"))[..drawn_len];
        let key = EndorsementKey::parse(&ek.bytes()).unwrap();
        let mut rng = crate::run::Replay::new(random);
        let ak = Name::from_trusted(&name).unwrap();
        let made = make_credential(&key, &ak, &credential, &mut rng).unwrap();
        let fields = vec![
            bytes("ek-public", ek.bytes()),
            bytes("name", &name),
            bytes("credential", credential),
            bytes("seal-random", random),
            bytes("out-credential-blob", made.credential_blob),
            bytes("out-encrypted-secret", made.encrypted_secret),
        ];
        Vector::good("make-credential", file, "make-credential", fields)
    };
    vec![
        made("p256", Area::p256(&p.endorsement).endorsement(), 32),
        made("p384", Area::ecc(0x0004, &p384_point()[1..]).endorsement(), 48),
        made("rsa-2048", Area::rsa(&modulus(256)).endorsement(), 64),
        made("rsa-3072", Area::rsa(&modulus(384)).endorsement(), 96),
    ]
}
