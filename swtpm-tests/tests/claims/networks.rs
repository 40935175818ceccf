//! Claims 14 and 20: the Internet or an intranet. What a recorder hears says nothing.

use twinseal_swtpm_tests::World;

use twinseal_swtpm_tests::till::Till;

#[test]
fn claim_14_plain_http_in_an_intranet_shows_nothing() {
    let world = World::start();
    let till = whole_trade(&world);
    let wire = till.device.wire();
    // It did listen: the paths are there.
    assert!(wire.heard(b"/device/v1/message"));
    let serial = till.backend().get(&till.path("")).ok();
    let serial = twinseal_swtpm_tests::till::text(&serial["serial"]);
    let serial = twinseal_scheme::serial::HardwareSerial::from_text(&serial).expect("a serial");
    assert!(!wire.heard(serial.as_bytes()));
    for secret in ["intranet", "two coffees", "four euros", twinseal_swtpm_tests::till::SERVICE] {
        assert!(!wire.heard(secret.as_bytes()), "{secret} was on the wire");
    }
}

#[test]
fn claim_20_https_in_the_internet_works_with_a_host_name_and_a_chain() {
    let world = World::start_https();
    let till = whole_trade(&world);
    // TLS hides even the paths.
    assert!(!till.device.wire().heard(b"/device/v1/"));
    assert!(!till.device.wire().tapes().is_empty());
}

fn whole_trade(world: &World) -> Till {
    let till = Till::enrol(world, "intranet");
    let trade = till.open("serial");
    till.send(&trade, "two coffees");
    assert_eq!(till.backend_receive(&trade, 0), ["two coffees"]);
    till.backend_send(&trade, "four euros");
    assert_eq!(till.receive(&trade, 0), ["four euros"]);
    let receipt = till.close(world, &trade);
    assert_eq!(receipt["verified"], true);
    let id: Vec<u8> = hex(&trade);
    assert!(!till.device.wire().heard(&id), "the trade's id was on the wire");
    till
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digit).collect()
}
