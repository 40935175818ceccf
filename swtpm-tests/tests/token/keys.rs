//! Keys of applications in a token, over the bus.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384};
use twinseal_swtpm_tests::{Desk, Device, Swtpm, Token, User};

/// Both may have keys.
const ONE: User = User::App(2001);
const OTHER: User = User::App(2002);

const MESSAGE: &[u8] = b"two coffees";

const SIGNERS: [(&str, &str, &dyn VerificationAlgorithm); 6] = [
    ("ecc-p256", "ecdsa", &ECDSA_P256_SHA256_FIXED),
    ("ecc-p384", "ecdsa", &ECDSA_P384_SHA384_FIXED),
    ("rsa-2048", "rsa-pkcs1-sha256", &RSA_PKCS1_2048_8192_SHA256),
    ("rsa-2048", "rsa-pss-sha384", &RSA_PSS_2048_8192_SHA384),
    ("rsa-3072", "rsa-pkcs1-sha256", &RSA_PKCS1_2048_8192_SHA256),
    ("rsa-3072", "rsa-pss-sha384", &RSA_PSS_2048_8192_SHA384),
];

/// A user's keys, each for all that its algorithm can do.
struct Keys<'a> {
    desk: Desk<'a>,
    keys: Vec<(&'static str, String)>,
}

impl Keys<'_> {
    fn made(device: &Device) -> Keys<'_> {
        let desk = Desk::of(device, ONE);
        let all = [
            ("ecc-p256", &["--use", "sign", "--use", "agree"][..]),
            ("ecc-p384", &["--use", "sign", "--use", "agree"]),
            ("rsa-2048", &["--use", "sign", "--use", "decrypt"]),
            ("rsa-3072", &["--use", "sign", "--use", "decrypt"]),
            ("hmac-sha256", &[]),
        ];
        let key = |(algorithm, uses): (&'static str, &[&str])| {
            (algorithm, desk.create(&[&["till", "--algorithm", algorithm], uses].concat()))
        };
        let keys = all.into_iter().map(key).collect();
        Keys { desk, keys }
    }

    fn of(&self, algorithm: &str) -> &str {
        let (_, key) = self.keys.iter().find(|(of, _)| *of == algorithm).expect("a key");
        key
    }

    fn public(&self, algorithm: &str) -> Vec<u8> {
        let file = self.desk.file("public");
        self.desk.key(&["show", self.of(algorithm), "--public-key", &file]);
        assert!(
            self.desk
                .openssl(&["pkey", "-pubin", "-in", "public", "-outform", "DER", "-out", "der"])
        );
        self.desk.read("der")
    }

    fn signature(&self, algorithm: &str, digest: &[u8], scheme: &str) -> Vec<u8> {
        let (digest, out) = (self.desk.put("digest", digest), self.desk.file("signature"));
        let key = self.of(algorithm);
        self.desk.key(&["sign", key, &digest, "--scheme", scheme, "--output", &out]);
        self.desk.read("signature")
    }

    /// All of them do what they are for, checked in software.
    fn work(&self) {
        for (algorithm, scheme, verifier) in SIGNERS {
            let longer = algorithm == "ecc-p384" || scheme.ends_with("384");
            let digest: Vec<u8> = match longer {
                true => Sha384::digest(MESSAGE).to_vec(),
                false => Sha256::digest(MESSAGE).to_vec(),
            };
            let signature = self.signature(algorithm, &digest, scheme);
            let spki = self.public(algorithm);
            // aws-lc takes RSA keys so, and points bare: the end of theirs.
            let key = match algorithm {
                "ecc-p256" => &spki[spki.len() - 65..],
                "ecc-p384" => &spki[spki.len() - 97..],
                _ => &spki,
            };
            let verified = UnparsedPublicKey::new(verifier, key).verify(MESSAGE, &signature);
            assert!(verified.is_ok(), "{algorithm} {scheme}");
        }
        self.agree("ecc-p256", "P-256");
        self.agree("ecc-p384", "P-384");
        self.decrypt("rsa-2048");
        self.decrypt("rsa-3072");
        let code = self.code();
        assert_eq!(code.len(), 32);
        assert_eq!(code, self.code());
    }

    fn agree(&self, algorithm: &str, curve: &str) {
        let (desk, curve) = (&self.desk, format!("ec_paramgen_curve:{curve}"));
        self.public(algorithm);
        let peer = ["genpkey", "-out", "peer", "-algorithm", "EC", "-pkeyopt", &curve];
        assert!(desk.openssl(&peer));
        assert!(desk.openssl(&["pkey", "-in", "peer", "-pubout", "-out", "peer.pub"]));
        let derive =
            ["pkeyutl", "-derive", "-inkey", "peer", "-peerkey", "public", "-out", "secret"];
        assert!(desk.openssl(&derive));
        let (peer, agreed) = (desk.file("peer.pub"), desk.file("agreed"));
        desk.key(&["agree", self.of(algorithm), &peer, "--output", &agreed]);
        assert_eq!(desk.read("agreed"), desk.read("secret"), "{algorithm}");
    }

    /// By the hash that every token knows. One that knows no other says so by name.
    fn decrypt(&self, algorithm: &str) {
        self.public(algorithm);
        for hash in ["sha1", "sha256"] {
            let opened = self.opened(algorithm, hash);
            match opened {
                Ok(plaintext) => assert_eq!(plaintext, "dHdvIGNvZmZlZXM=", "{algorithm} {hash}"),
                Err(error) => {
                    assert_eq!(hash, "sha256");
                    assert_eq!(error["kind"], "Rejected");
                    let message = error["message"].as_str().expect("a sentence");
                    assert!(message.contains("RSA-OAEP"), "{message}");
                }
            }
        }
    }

    fn opened(&self, algorithm: &str, hash: &str) -> Result<String, Value> {
        let desk = &self.desk;
        desk.put("message", MESSAGE);
        let hashes = [format!("rsa_oaep_md:{hash}"), format!("rsa_mgf1_md:{hash}")];
        let seal = ["pkeyutl", "-encrypt", "-pubin", "-inkey", "public", "-in", "message", "-out"];
        let oaep = ["sealed", "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", &hashes[0]];
        assert!(desk.openssl(&[&seal[..], &oaep, &["-pkeyopt", &hashes[1]]].concat()));
        let (sealed, scheme) = (desk.file("sealed"), format!("rsa-oaep-{hash}"));
        let key = self.of(algorithm);
        match desk.try_key(&["decrypt", key, &sealed, "--scheme", &scheme]) {
            (0, opened) => Ok(opened["plaintext"].as_str().expect("base64").to_owned()),
            (_, refused) => Err(refused["error"].clone()),
        }
    }

    fn code(&self) -> Vec<u8> {
        self.signature("hmac-sha256", MESSAGE, "hmac-sha256")
    }
}

#[test]
fn a_token_makes_uses_and_keeps_keys_of_every_algorithm() {
    let mut device = Device::builder().chip(Token::start()).start();
    let empty = device.token().objects();
    let code = {
        let keys = Keys::made(&device);
        keys.work();
        // Nobody else sees them.
        let others = Desk::of(&device, OTHER);
        for (algorithm, key) in &keys.keys {
            let path = key.replace("u2001", "u2002");
            let (code, refused) = others.try_key(&["show", &path]);
            assert_eq!((code, &refused["error"]["kind"]), (6, &json!("NotFound")), "{algorithm}");
        }
        assert_eq!(others.key(&["list"])["keys"], json!([]));
        keys.code()
    };
    // Four pairs and a secret.
    assert_eq!(device.token().objects().len(), empty.len() + 9);
    let hardware = device.property(ONE, "", "", "Hardware").expect("a description");
    for algorithm in ["ecc-p256", "ecc-p384", "rsa-2048", "rsa-3072", "hmac-sha256"] {
        assert!(hardware.contains(algorithm), "{hardware}");
    }
    device.restart_agent();
    let desk = Desk::of(&device, ONE);
    let listed = desk.key(&["list"])["keys"].clone();
    let of = |key: &Value, name: &str| key[name].as_str().expect("a text").to_owned();
    let listed = listed.as_array().expect("keys").iter();
    let names: Vec<(String, String)> =
        listed.map(|key| (of(key, "algorithm"), of(key, "key"))).collect();
    assert_eq!(names.len(), 5);
    let (_, secret) = names.iter().find(|(of, _)| of == "hmac-sha256").expect("a secret");
    let (data, out) = (desk.put("data", MESSAGE), desk.file("code"));
    desk.key(&["sign", secret, &data, "--scheme", "hmac-sha256", "--output", &out]);
    assert_eq!(desk.read("code"), code);
    for (_, name) in &names {
        desk.key(&["delete", name]);
    }
    assert_eq!(device.token().objects(), empty);
    assert!(desk.key(&["list"])["keys"].as_array().expect("keys").is_empty());
}

#[test]
fn a_tokens_key_does_what_it_was_made_for_and_nothing_else() {
    let device = Device::builder().chip(Token::start()).start();
    let desk = Desk::of(&device, ONE);
    let (signs, agrees) = (desk.create(&["signs"]), desk.create(&["agrees", "--use", "agree"]));
    let digest = desk.put("digest", &[7; 32]);
    desk.key(&["sign", &signs, &digest, "--scheme", "ecdsa"]);
    let (code, refused) = desk.try_key(&["sign", &agrees, &digest, "--scheme", "ecdsa"]);
    assert_eq!((code, &refused["error"]["kind"]), (9, &json!("Rejected")));
    let rsa = desk.create(&["opens", "--algorithm", "rsa-2048", "--use", "decrypt"]);
    let nothing = desk.put("nothing", &[7; 256]);
    let (code, refused) = desk.try_key(&["decrypt", &rsa, &nothing, "--scheme", "rsa-oaep-sha1"]);
    assert_eq!((code, &refused["error"]["kind"]), (9, &json!("Rejected")), "{refused}");
}

#[test]
fn a_key_of_another_token_says_so_and_can_be_deleted() {
    let mut device = Device::builder().chip(Token::start()).start();
    let key = Desk::of(&device, ONE).create(&["till"]);
    device.kill_agent();
    let other = Device::builder().chip(Token::start()).state_of(&device).start();
    let desk = Desk::of(&other, ONE);
    let digest = desk.put("digest", &[7; 32]);
    let (_, refused) = desk.try_key(&["sign", &key, &digest, "--scheme", "ecdsa"]);
    assert_eq!(refused["error"]["kind"], "ChipCleared");
    assert_eq!(other.state(), "NotEnrolled", "it says nothing of the device");
    let own = desk.create(&["own"]);
    desk.key(&["sign", &own, &digest, "--scheme", "ecdsa"]);
    desk.key(&["delete", &key]);
    drop(other);
    device.restart_agent();
    // Its disk is as it was.
    let desk = Desk::of(&device, ONE);
    let digest = desk.put("digest", &[7; 32]);
    desk.key(&["sign", &key, &digest, "--scheme", "ecdsa"]);
}

/// What only a TPM can: it does, and a token says why not.
#[test]
fn a_tokens_key_does_not_leave_it_and_is_not_attested() {
    let tpm = Device::builder().chip(Swtpm::start()).start();
    let token = Device::builder().chip(Token::start()).start();
    let (of_tpm, of_token) = (Desk::of(&tpm, ONE), Desk::of(&token, ONE));
    let (key, its) = (of_tpm.create(&["till"]), of_token.create(&["till"]));
    let exported = of_tpm.file("file");
    of_tpm.key(&["export", &key, "--output", &exported]);
    let refused = |arguments: &[&str]| {
        let (code, refused) = of_token.try_key(arguments);
        assert_eq!((code, &refused["error"]["kind"]), (9, &json!("Rejected")), "{refused}");
        refused["error"]["message"].as_str().expect("a sentence").to_owned()
    };
    let out = of_token.file("file");
    assert!(refused(&["export", &its, "--output", &out]).contains("does not leave it"));
    of_tpm.key(&["import", "again", &exported]);
    let brought = of_token.put("brought", &of_tpm.read("file"));
    assert!(refused(&["import", "again", &brought]).contains("takes no key files"));
    let nonce = "4e".repeat(32);
    let (_, not_yet) = of_tpm.try_key(&["attest", &key, "--nonce", &nonce]);
    assert_eq!(not_yet["error"]["kind"], "NotEnrolled");
    assert!(refused(&["attest", &its, "--nonce", &nonce]).contains("attests nothing"));
}
