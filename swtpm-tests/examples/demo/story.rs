//! What happens.

use serde_json::json;
use twinseal_swtpm_tests::till::{APP, SERVICE, Till, text, to_base64, until};
use twinseal_swtpm_tests::{Api, Device, Swtpm, Token, TokenKind, User, World};

use crate::tell::Teller;
use crate::thief::Thief;
use crate::wire::Keys;

/// Everything, in the order of the patent; stops where nothing can follow.
pub fn tell(teller: &mut Teller, world: &World) {
    let Some((till, small)) = enrol(teller, world) else { return };
    exchanges(teller, &till, &small);
    at_once(teller, &till, &small);
    layerings(teller, world, &till);
    receipt(teller, world, &till);
    attacks(teller, world, &till);
    impostor(teller, world, &till);
}

/// A device with a TPM, and one with a token.
fn enrol(teller: &mut Teller, world: &World) -> Option<(Till, Till)> {
    let what = "A device with a TPM and one with a token are enrolled at the same time";
    let tills = teller.step("claims 1, 2, 15, 19", what, || {
        let tills = std::thread::scope(|scope| {
            let small = scope.spawn(|| Till::with_chip(world, "8", Token::of(TokenKind::SoftHsm)));
            let till = Till::with_chip(world, "7", Swtpm::start());
            (till, small.join().expect("the small device"))
        });
        let detail = "The operator made a link for each; each answered the server's public key\n\
                      with its own keys, its serial and its user information, sealed to the\n\
                      server, and its chip proved them.";
        (tills, detail.to_owned())
    })?;
    teller.step("claim 16", "The server knows their serials, and how far to trust each", || {
        let lines: Vec<String> = [&tills.0, &tills.1].into_iter().map(known).collect();
        ((), lines.join("\n\n"))
    })?;
    Some(tills)
}

/// What the server holds of a device, which is what that says of itself.
fn known(till: &Till) -> String {
    let device = till.backend().get(&till.path("")).ok();
    let hardware = till.try_app(User::Operator, &["hardware"], "");
    let own: serde_json::Value = serde_json::from_slice(&hardware.stdout).expect("JSON");
    assert_eq!(own["serial"], device["serial"], "both know one serial");
    let (serial, assurance) = (text(&device["serial"]), text(&device["assurance"]));
    let expected = if own["kind"] == "tpm" { "tpm-ek" } else { "token" };
    assert_eq!(assurance, expected);
    let chip = format!("{} {}", text(&own["kind"]), text(&own["model"]));
    let lines = device["verdict"].as_array().expect("lines").iter().map(text);
    let verdict: Vec<String> = lines.collect();
    format!(
        "chip       {chip}\nserial     {serial}\nassurance  {assurance}\n{}",
        verdict.join("\n")
    )
    .trim_end()
    .to_owned()
}

fn exchanges(teller: &mut Teller, till: &Till, small: &Till) {
    teller.step("claim 12, Fig. 13", "The server begins a trade of two messages", || {
        let done = std::thread::scope(|scope| {
            let asking = scope.spawn(|| till.backend_exchange("key", "Where are you?"));
            let trade = till.offered();
            assert_eq!(till.receive(&trade, 0), ["Where are you?"]);
            till.send(&trade, "At the counter.");
            asking.join().expect("the back end")
        });
        assert_eq!(done["reply"]["payload"], to_base64("At the counter."));
        ended(till, &text(&done["trade"]));
        (
            (),
            "server → device  Ea(Es(m1))  Where are you?\ndevice → server  Ea(Es(m2))  At the \
              counter.\nand it has ended by itself"
                .to_owned(),
        )
    });
    teller.step("claim 13, Fig. 14", "The device with the token begins one", || {
        let ask = ["exchange", SERVICE, "--outer", "serial"];
        let reply = std::thread::scope(|scope| {
            let asking = scope.spawn(|| small.app(&ask, "What is a tea?"));
            let request = until("a request", || {
                let inbox = small.backend().get("/api/v1/inbox?wait_ms=1000").ok();
                let waiting = inbox["messages"].as_array()?.clone();
                waiting.into_iter().find(|message| message["type"] == "request")
            });
            small.backend_send(&text(&request["trade"]), "Three euros.");
            asking.join().expect("the application")
        });
        assert_eq!(reply["text"], "Three euros.");
        ended(small, &text(&reply["trade"]));
        (
            (),
            "device → server  Es(Ea(n1))  What is a tea?\nserver → device  Es(Ea(n2))  Three \
              euros.\nand it has ended by itself"
                .to_owned(),
        )
    });
}

fn ended(till: &Till, trade: &str) {
    let stage = || till.backend_trade(trade)["stage"] == "ended";
    until("the exchange ends", || stage().then_some(()));
}

fn at_once(teller: &mut Teller, till: &Till, small: &Till) {
    teller.step("claim 15, Fig. 5, 6", "Both trade at once, each in an order of its own", || {
        std::thread::scope(|scope| {
            for (device, outer) in [(till, "key"), (small, "serial")] {
                scope.spawn(move || {
                    let trade = device.open(outer);
                    for round in 1..=3 {
                        device.send(&trade, &format!("order {round}"));
                        device.backend_send(&trade, &format!("done {round}"));
                        let said = until("a message", || {
                            device.receive(&trade, round - 1).first().cloned()
                        });
                        assert_eq!(said, format!("done {round}"));
                    }
                    let orders = ["order 1", "order 2", "order 3"];
                    until("all", || (device.backend_receive(&trade, 0) == orders).then_some(()));
                });
            }
        });
        let detail = "TPM    Ea(Es(m))  three messages up, three down\n\
                      token  Es(Ea(m))  three messages up, three down";
        ((), detail.to_owned())
    });
}

fn layerings(teller: &mut Teller, world: &World, till: &Till) {
    for (outer, claims, nesting) in [
        ("key", "claims 4, 5, 8, 9, Fig. 9, 11", "Ea(Es(m))"),
        ("serial", "claims 6, 7, 10, 11, Fig. 10, 12", "Es(Ea(m))"),
    ] {
        teller.step(claims, &format!("A loop in the order {nesting}, both ways"), || {
            let trade = till.open(outer);
            for round in 1..=2 {
                let (up, down) =
                    (format!("order {outer} {round}"), format!("done {outer} {round}"));
                till.send(&trade, &up);
                till.backend_send(&trade, &down);
            }
            until("both", || (till.backend_trade(&trade)["received"] == 3).then_some(()));
            till.receive(&trade, 0);
            let (wire, keys) = (till.device.wire(), Keys::of(world, till));
            assert!(!wire.heard(b"order") && !wire.heard(b"done"), "plaintext on the wire");
            let up = keys.layers_up(wire, &format!("order {outer} 1"));
            let down = keys.layers_down(till, &format!("done {outer} 1"));
            let shown = |messages: &[Vec<&str>]| messages.first().expect("one").join(" around ");
            (
                (),
                format!("on the wire, up:    {}\non the wire, down:  {}", shown(&up), shown(&down)),
            )
        });
    }
}

fn receipt(teller: &mut Teller, world: &World, till: &Till) {
    teller.step("claim 3, [0019]", "A trade is closed, and its receipt verified offline", || {
        let trade = till.open("serial");
        till.send(&trade, "one coffee");
        assert_eq!(till.backend_receive(&trade, 0), ["one coffee"]);
        let receipt = till.close(world, &trade);
        assert_eq!(receipt["verified"], true, "{receipt}");
        let count = |direction: &str| receipt[direction]["count"].clone();
        (
            (),
            format!(
                "signed by the server and by the chip; {} messages up, {} down;\n\
             `twinseal receipt verify` needs nothing but the server's id",
                count("up"),
                count("down")
            ),
        )
    });
}

fn attacks(teller: &mut Teller, world: &World, till: &Till) {
    let door = Api::new(world.server().device_address(), "none");
    let knock = |envelope: &[u8]| {
        let reply = door.send("POST", "/device/v1/message", envelope, "application/cose");
        (reply.status, reply.body)
    };
    let last = || {
        let calls = till.device.wire().calls();
        calls.into_iter().rfind(|call| call.kind == "message").expect("a message")
    };
    teller.step("[0009]", "A message that somebody has changed is refused", || {
        let mut changed = last().request;
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        let (status, word) = knock(&changed);
        let word = String::from_utf8_lossy(&word).into_owned();
        assert_eq!((status, word.as_str()), (403, "rejected"));
        ((), "He who changed it is told one word: rejected. The log says why.".to_owned())
    });
    teller.step("replay", "A message that is played again is answered once", || {
        let call = last();
        let inbox = || text_of(&till.backend().get("/api/v1/trades").ok());
        let before = inbox();
        let (status, answer) = knock(&call.request);
        assert_eq!((status, answer == call.reply), (200, true), "the stored answer");
        assert_eq!(before, inbox(), "nothing has changed");
        ((), "The same bytes get the same answer; nothing happens a second time.".to_owned())
    });
}

fn text_of(value: &serde_json::Value) -> String {
    json!(value).to_string()
}

fn impostor(teller: &mut Teller, world: &World, till: &Till) {
    let thief = Thief::of(&till.device);
    let copy = till.device.chip().copy();
    copy.take_serial_away();
    teller.step(
        "[0023]",
        "An impostor has a copy of the chip, but for its endorsement seed",
        || {
            assert!(thief.openssl_believes(&copy, b"I am the true device"), "openssl");
            (
                (),
                "He signs with the true device's key, and `openssl` verifies it with the true\n\
              device's public key."
                    .to_owned(),
            )
        },
    );
    teller.step(
        "[0019]",
        "The server refuses him, though his agent states the true serial",
        || {
            let door = Api::new(world.server().device_address(), "none");
            let forged = thief.forge(&copy, 1000);
            let reply = door.send("POST", "/device/v1/message", &forged, "application/cose");
            assert_eq!((reply.status, &reply.body[..]), (403, &b"rejected"[..]));
            let log = world.server().log();
            assert!(log.contains("bad-commitment"), "{log}");
            (
                (),
                "The signature is right, the serial layer is not: the log says bad-commitment."
                    .to_owned(),
            )
        },
    );
    teller.step("[0019]", "His device refuses to open and to seal, and says why", || {
        let builder = Device::builder().chip(copy).service(SERVICE, &[APP]);
        let impostor = builder.state_of(&till.device).start();
        until("it knows", || (impostor.state() == "ChipReplaced").then_some(()));
        let open = impostor.call(APP, "", "OpenTrade", &[SERVICE, "@a{sv} {}"]);
        ((), open.expect_err("a refusal").text)
    });
    teller.step("claim 17", "The true device trades on", || {
        let trade = till.open("serial");
        till.send(&trade, "still me");
        assert_eq!(till.backend_receive(&trade, 0), ["still me"]);
        ((), "device → server  still me".to_owned())
    });
}
