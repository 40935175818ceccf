//! Messages taken apart: every layering names its steps of the patent, with its real bytes.

use crate::parties::Parties;
use twinseal_scheme::explain::{Part, explain};
use twinseal_scheme::message::{Opened, Outer};
use twinseal_scheme::{Reason, cbor};

/// Title, structure, and the numbers of the steps, of every part.
fn summary(parts: &[Part]) -> Vec<(&str, &str, Vec<u16>)> {
    let numbers = |part: &Part| {
        let steps = part.steps.into_iter().flat_map(|s| s.sealing.into_iter().chain(s.opening));
        steps.map(|(_, step)| step).collect()
    };
    parts.iter().map(|part| (part.title, part.structure, numbers(part))).collect()
}

const ROUTE: (&str, &str, Vec<u16>) = ("routing header", "CBOR array of 9 items", Vec::new());
const CONTENT: (&str, &str, Vec<u16>) = ("the content", "as the sender made it", Vec::new());
const SIGNED: (&str, &str, Vec<u16>) =
    ("the server's signature", "COSE_Sign1 (tag 18)", Vec::new());

fn serial_layer(steps: [u16; 4]) -> (&'static str, &'static str, Vec<u16>) {
    ("Es, the serial layer", "COSE_Encrypt (tag 96)", steps.to_vec())
}

fn key_layer(structure: &'static str, steps: [u16; 4]) -> (&'static str, &'static str, Vec<u16>) {
    ("Ea, the key layer", structure, steps.to_vec())
}

/// Every range must be where the bytes stand; and every part, inside the layer around it.
fn check_places(bytes: &[u8], parts: &[Part], opened: &Opened) {
    for part in parts {
        assert!(!part.bytes.is_empty(), "{}", part.title);
        if let Some(range) = &part.range {
            assert_eq!(bytes[range.clone()], part.bytes, "{}", part.title);
        }
    }
    let content = parts.last().unwrap();
    assert_eq!(content.bytes, opened.content);
    assert_eq!(parts[2].bytes, opened.inner);
    assert!(cbor::decode(&parts[0].bytes, 256).is_ok());
}

#[test]
fn up_in_both_orders() {
    let parties = Parties::new([1; 32]);
    let (device, server) = parties.epoch(1);

    let key = parties.up(&device, Outer::Key, 1, b"content");
    let opened = parties.open_up(&server, &key).unwrap();
    let parts = explain(&key, Some(&opened)).unwrap();
    let ea = key_layer("COSE_Sign1 (tag 18)", [314, 616, 315, 617]);
    let es = serial_layer([313, 615, 316, 618]);
    assert_eq!(summary(&parts), [ROUTE, ea.clone(), es.clone(), CONTENT]);
    check_places(&key, &parts, &opened);
    // A signature hides nothing, so the inner layer is there for everybody.
    let seen = explain(&key, None).unwrap();
    assert_eq!(summary(&seen), [ROUTE, ea, es]);
    assert_eq!(seen, parts[..3]);

    let serial = parties.up(&device, Outer::Serial, 1, b"content");
    let opened = parties.open_up(&server, &serial).unwrap();
    let parts = explain(&serial, Some(&opened)).unwrap();
    let es = serial_layer([414, 716, 415, 717]);
    let ea = key_layer("COSE_Sign1 (tag 18)", [413, 715, 416, 718]);
    assert_eq!(summary(&parts), [ROUTE, es.clone(), ea, CONTENT]);
    check_places(&serial, &parts, &opened);
    assert_eq!(summary(&explain(&serial, None).unwrap()), [ROUTE, es]);
}

#[test]
fn down_in_both_orders() {
    let parties = Parties::new([1; 32]);
    let (device, server) = parties.epoch(1);

    let key = parties.down(&server, Outer::Key, 1, b"content");
    let opened = parties.open_down(&device, &key).unwrap();
    let parts = explain(&key, Some(&opened)).unwrap();
    let ea = key_layer("COSE_Encrypt (tag 96)", [318, 620, 319, 621]);
    let es = serial_layer([317, 619, 320, 622]);
    assert_eq!(summary(&parts), [ROUTE, ea.clone(), es, SIGNED, CONTENT]);
    check_places(&key, &parts, &opened);
    assert_eq!(summary(&explain(&key, None).unwrap()), [ROUTE, ea]);

    let serial = parties.down(&server, Outer::Serial, 1, b"content");
    let opened = parties.open_down(&device, &serial).unwrap();
    let parts = explain(&serial, Some(&opened)).unwrap();
    let es = serial_layer([418, 720, 419, 721]);
    let ea = key_layer("COSE_Encrypt (tag 96)", [417, 719, 420, 722]);
    assert_eq!(summary(&parts), [ROUTE, es.clone(), ea, SIGNED, CONTENT]);
    check_places(&serial, &parts, &opened);
    assert_eq!(summary(&explain(&serial, None).unwrap()), [ROUTE, es]);
}

#[test]
fn an_epoch_open_is_called_so_and_anything_else_is_not_explained() {
    let parties = Parties::new([1; 32]);
    let chain = parties.chain.ratchet(1).unwrap();
    let (open, _) = parties.epoch_open(&chain);
    assert_eq!(explain(&open, None).unwrap().len(), 3);
    let content = vec![0x80];
    let opened = Opened { content, inner: vec![], server_signed: None };
    assert_eq!(explain(&open, Some(&opened)).unwrap()[3].title, "the epoch-open");
    assert_eq!(explain(b"text", None), Err(Reason::NotCbor));
    assert_eq!(explain(&open[..open.len() - 1], None), Err(Reason::NotCbor));
}
