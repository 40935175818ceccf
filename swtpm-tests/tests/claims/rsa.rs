//! What is particular to RSA: which algorithms are on the wire, a second enrolment, and junk for the
//! chip to decrypt, which is refused by itself while everything goes on.

use twinseal_scheme::explain::explain;
use twinseal_scheme::message::{Envelope, Outer};
use twinseal_swtpm_tests::till::{APP, Till};
use twinseal_swtpm_tests::{Device, Swtpm, World, enrol};

use crate::wire::Keys;

#[test]
fn the_devices_sign_with_pss_and_decrypt_with_oaep_through_two_enrolments() {
    let world = World::start();
    let till =
        Till::of_device(&world, "algorithms", Device::builder().chip(Swtpm::start()).keys("rsa"));
    for generation in 1..=2 {
        let trade = till.open("key");
        till.send(&trade, "up");
        assert_eq!(till.backend_receive(&trade, 0), ["up"]);
        till.backend_send(&trade, "down");
        assert_eq!(till.receive(&trade, 0), ["down"]);
        let keys = Keys::of(&world, &till);
        let down = keys.downlinks(till.device.wire()).pop().expect("a message down");
        assert_eq!(field(&down, "recipient"), "RSAES-OAEP with SHA-256 (-41)");
        let is_of_now = |bytes: &Vec<u8>| {
            let route = Envelope::decode(bytes).map(|envelope| envelope.route);
            route.is_ok_and(|route| route.generation == generation && route.outer == Outer::Key)
        };
        let mut sent = till.device.wire().calls().into_iter().map(|call| call.request);
        let up = sent.find(is_of_now).expect("a message up");
        assert_eq!(field(&up, "algorithm"), "PS256 (-37)");
        // Countersigned with PS256 too, and verified by whoever knows the server alone.
        assert_eq!(till.close(&world, &trade)["verified"], true);
        if generation == 1 {
            // The old RSA key proves that it is the same device.
            let link = world.link(&till.device);
            assert_eq!(enrol(&till.device, &link, &[("till", "algorithms")]), Ok(()));
        }
    }
}

/// A field of the outermost layer.
pub fn field(envelope: &[u8], name: &str) -> String {
    let parts = explain(envelope, None).expect("an envelope");
    let mut fields = parts[1].fields.iter();
    fields.find(|(found, _)| *found == name).expect("a field").1.clone()
}

/// An encrypted key is 256 bytes; some of them changed.
const CHANGES: [fn(&mut [u8]); 4] =
    [|key| key.fill(0), |key| key.fill(0xff), |key| key[200] ^= 1, |key| key[0] ^= 0x80];

#[test]
fn a_damaged_oaep_message_harms_nobody() {
    let world = World::start();
    let till = Till::of_device(&world, "junk", Device::builder().chip(Swtpm::start()).keys("rsa"));
    let trade = till.open("key");
    till.send(&trade, "zeroth");
    assert_eq!(till.backend_receive(&trade, 0), ["zeroth"]);
    till.backend_send(&trade, "first");
    assert_eq!(till.receive(&trade, 0), ["first"]);
    let keys = Keys::of(&world, &till);
    let sealed = keys.downlinks(till.device.wire()).pop().expect("a message down");
    let at = encrypted_key(&sealed);
    let path = format!("/u{}/trade/{trade}", APP.uid());
    let open = |envelope: &[u8]| {
        let bytes: Vec<_> = envelope.iter().map(|b| format!("byte {b}")).collect();
        let argument = format!("[{}]", bytes.join(", "));
        till.device.call(APP, &path, "Trade.Open", &[&argument, "@a{sv} {}"])
    };
    for change in CHANGES {
        let mut junk = sealed.clone();
        change(&mut junk[at.clone()]);
        assert_eq!(open(&junk).expect_err("a refusal").name, "org.twinseal.Error.Rejected");
        assert!(open(&sealed).expect("the message").contains("text/plain"));
    }
    assert_eq!(till.device.state(), "Active");
    // Both ways and both orders still work.
    till.send(&trade, "second");
    assert_eq!(till.backend_receive(&trade, 2), ["second"]);
    till.backend_send(&trade, "third");
    assert_eq!(till.receive(&trade, 1), ["third"]);
    let other = till.open("serial");
    till.send(&other, "also");
    assert_eq!(till.backend_receive(&other, 0), ["also"]);
    till.backend_send(&other, "fourth");
    assert_eq!(till.receive(&other, 0), ["fourth"]);
}

/// Where the encrypted content key stands in a message with the key layer outside.
pub fn encrypted_key(envelope: &[u8]) -> std::ops::Range<usize> {
    let hex = field(envelope, "encrypted key");
    let place = envelope.windows(256).position(|window| {
        window.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == hex
    });
    let start = place.expect("in clear");
    start..start + 256
}
